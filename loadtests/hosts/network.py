"""Hosts on one switch, each a network namespace of its own: Debian's iproute2 and root.

A packet to a host that is cut off vanishes, as behind a router: nobody is told that it is not there
(all hardware addresses are known for good, so no look-up of one fails).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

_NETWORK = "10.77.0"
_MOST = 40
_CLONE_NEWNET = 0x40000000
_PORT = "eth0"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _hardware(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


@dataclass(frozen=True, slots=True)
class Host:
    """One host; `port` is its end of the cable at the switch."""

    name: str
    number: int
    namespace: str
    switch: str

    @property
    def address(self) -> str:
        return f"{_NETWORK}.{self.number}"

    @property
    def port(self) -> str:
        return f"port{self.number}"

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command, run on this host."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def enter(self) -> None:
        """Have the calling thread, and those it starts, open their connections from here."""
        with Path("/var/run/netns", self.namespace).open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.namespace}")

    def cut(self) -> None:
        """Pull the cable."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def heal(self) -> None:
        """Plug it in again."""
        _ip("-n", self.switch, "link", "set", self.port, "up")

    def slow(self, kbit: int) -> None:
        """Let through so many thousand bits a second each way, with a queue of a second."""
        for namespace, end in ((self.switch, self.port), (self.namespace, _PORT)):
            subprocess.run(
                ["tc", "-n", namespace, "qdisc", "replace", "dev", end, "root", "tbf",
                 "rate", f"{kbit}kbit", "burst", "4kb", "latency", "1s"],
                check=True, capture_output=True,
            )  # fmt: skip

    def hasten(self) -> None:
        """Full speed again."""
        for namespace, end in ((self.switch, self.port), (self.namespace, _PORT)):
            subprocess.run(
                ["tc", "-n", namespace, "qdisc", "del", "dev", end, "root"],
                check=True, capture_output=True,
            )  # fmt: skip


@dataclass(slots=True)
class Network:
    """The switch and its hosts, gone with all that was made when it is left."""

    hosts: dict[str, Host] = field(default_factory=dict[str, Host])
    _prefix: str = field(default_factory=lambda: f"ratchet-{os.getpid()}")

    def host(self, name: str) -> Host:
        """Another host."""
        host = Host(name, len(self.hosts) + 2, f"{self._prefix}-{name}", self._switch)
        end = f"new{host.number}"
        _ip("netns", "add", host.namespace)
        self.hosts[name] = host
        _ip("-n", self._switch, "link", "add", host.port, "type", "veth", "peer", "name", end)
        _ip("-n", self._switch, "link", "set", end, "netns", host.namespace)
        _ip("-n", host.namespace, "link", "set", end, "name", _PORT,
            "address", _hardware(host.number))  # fmt: skip
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", _PORT)
        for end in (_PORT, "lo"):
            _ip("-n", host.namespace, "link", "set", end, "up")
        _ip("-n", self._switch, "link", "set", host.port, "master", "bridge", "up")
        for number in range(2, _MOST):
            if number != host.number:
                _ip("-n", host.namespace, "neigh", "add", f"{_NETWORK}.{number}",
                    "lladdr", _hardware(number), "dev", _PORT, "nud", "permanent")  # fmt: skip
        return host

    def __enter__(self) -> Network:
        _ip("netns", "add", self._switch)
        try:
            _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "bridge", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for namespace in (*(host.namespace for host in self.hosts.values()), self._switch):
            subprocess.run(["ip", "netns", "del", namespace], check=False)

    @property
    def _switch(self) -> str:
        return f"{self._prefix}-switch"
