"""`python -m adapter FLAGS` is `ratchet adapt FLAGS`, in a form that `accelerate launch -m` takes.

The command lives in `ratchet`, which this package must not import, so it is run by name.
"""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["adapt"]
    runpy.run_module("ratchet", run_name="__main__", alter_sys=True)
