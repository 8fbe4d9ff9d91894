"""Ports for processes that tests start: free when picked, and still free when they are bound."""

import random
import socket
import sys
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 10_000
_taken: set[int] = set()
_locks: list[socket.socket] = []


def free_port() -> int:
    """A TCP port on loopback below the range from which the kernel takes ports for connections.

    An outgoing connection cannot take it before it is bound, and nobody is given it twice, in this
    run of the tests or in one beside it.
    """
    for port in random.sample(range(_FIRST, _first_ephemeral()), 200):
        if port not in _taken and _free(port) and _locked(port):
            _taken.add(port)
            return port
    raise AssertionError("of 200 ports none is free")


def _first_ephemeral() -> int:
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 0
    return first if first > 2 * _FIRST else 32_768


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _locked(port: int) -> bool:
    """Hold a name that only one process can hold, as long as this one lives."""
    if sys.platform != "linux":
        return True
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0ratchet-test-port-{port}")
    except OSError:
        lock.close()
        return False
    _locks.append(lock)
    return True
