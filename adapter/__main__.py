"""`python -m adapter FLAGS` is `ratchet adapt FLAGS`, in a form that `accelerate launch -m` takes.

The command is put together in `ratchet`, which this room must not import; so it is run by its name,
as `python -m ratchet` would run it.
"""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["adapt"]
    runpy.run_module("ratchet", run_name="__main__", alter_sys=True)
