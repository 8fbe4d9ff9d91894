"""Schemathesis over the server's own OpenAPI document: `make fuzz`, or `python -m tests.fuzz`.

A real server process, in front of a stand-in for vLLM. Examples, boundary coverage, random fuzzing
and stateful sequences; a reply of 5xx, one that is not as documented, or none in time is a failure.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.gateway import gateway

_CASES = re.compile(r"(\d[\d,]*) generated")
_CONFIG = """
[checks]
negative_data_rejection.expected-statuses = [
    "400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx",
]
"""
"""As it is by default, and 413: more messages than are allowed may be more bytes than are."""
# A name that is served reaches deeper than a random one; most requests get it, not all.
_HOOKS = """
import schemathesis

KINDS = {
    "choice": {"kind": "choice", "options": ["yes", "no"]},
    "pattern": {"kind": "pattern", "pattern": "(a+)"},
    "math": {"kind": "math", "last_number": True},
    "tool_calls": {"kind": "tool_calls", "parallel": False},
    **{name: {"kind": name} for name in ("auto", "json", "short", "text")},
}

@schemathesis.hook
def map_body(context, body):
    model = body.get("model") if isinstance(body, dict) else None
    if isinstance(model, str) and len(model) != 3 and len(model) <= 256:  # longer is invalid
        body["model"] = "ratchet"
    # A schema cannot say which tools are offered.
    choice = body.get("tool_choice") if isinstance(body, dict) else None
    if isinstance(choice, dict) and isinstance(choice.get("tools"), list):
        choice["tools"] = [tool for tool in body.get("tools") or [] if isinstance(tool, dict)]
    ours = body.get("ratchet") if isinstance(body, dict) else None
    answer = ours.get("answer") if isinstance(ours, dict) else None
    if isinstance(answer, dict) and answer.get("kind") in KINDS:
        ours["answer"] = KINDS[answer["kind"]]  # a schema cannot say which patterns compile
    return body

@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is not None and case.meta.generation.mode.is_positive:
        case.body = map_body(context, case.body)  # what the coverage phase makes by itself too
"""


def fuzz(examples: int, seed: int) -> tuple[int, int, str]:
    """Exit status, cases generated, and what was said, for `examples` of random cases a route."""
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder), max_rollouts=8) as server:
        (Path(folder) / "fuzz_hooks.py").write_text(_HOOKS)
        (Path(folder) / "schemathesis.toml").write_text(_CONFIG)
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "schemathesis"), "run",
                f"{server.root}/openapi.json", "--max-examples", str(examples),
                "--phases", "examples,coverage,fuzzing,stateful", "--seed", str(seed),
                "--request-timeout", "10", "--workers", "1", "--no-color",
                "--suppress-health-check", "all",
            ],
            env={**os.environ, "PYTHONPATH": folder, "SCHEMATHESIS_HOOKS": "fuzz_hooks"},
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert server.ready(), "the server is gone:\n" + server.log()[-2000:]
        assert "Traceback" not in server.log(), server.log()[-4000:]
    found = _CASES.search(said)
    return done.returncode, int(found[1].replace(",", "")) if found else 0, said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=3_500, help="random cases a route [3500]")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    status, cases, said = fuzz(chosen.examples, chosen.seed)
    print(said[-6000:])
    print(f"{cases} cases")
    sys.exit(status)


if __name__ == "__main__":
    main()
