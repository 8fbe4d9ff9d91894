"""`python -m evals.smollm2 --out FOLDER`: makes the model's folder."""

import argparse
import sys
from pathlib import Path

from evals.smollm2.model import ModelPackageMissing, make


def main() -> int:
    """Make it; 2 if a package is missing."""
    parser = argparse.ArgumentParser(prog="python -m evals.smollm2", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    try:
        make(parser.parse_args().out)
    except ModelPackageMissing as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
