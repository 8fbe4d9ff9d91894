"""Turns away what a web page could have a browser send here: by Host, Origin and content type.

A page of anywhere can post to a server on its reader's machine, and read from it once a name of its
own leads there (DNS rebinding). A key stops both; without keys these checks do. Addresses, names
without a dot and those under suffixes that nobody can register are let in: they lead nowhere else.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import Scope

from server.api.errors import ApiError

_JSON = re.compile(rb"application/(?:[\w.+-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]*)(?::\d*)?", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://([^/?#@]*)", re.IGNORECASE)
_PRIVATE = (".localhost", ".internal", ".local", ".home.arpa")
"""RFC 6761, RFC 6762, RFC 8375, and ICANN's resolution of July 2024."""
_REMEMBERED = 1024
"""Names whose form is not looked at again."""
_NOT_JSON = ApiError(415, "send JSON, with content-type: application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """`open`: no key is needed. `local`: only this machine is listened to. `names` are those under
    which clients reach the server, besides addresses and private ones; if there are none, a server
    that is not open, or not local, is reached by any."""

    open: bool
    local: bool
    names: frozenset[str]

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request is turned away, or None. Of a header that comes twice, each must do."""
        hosts = [_name(value) for value in values_of(scope, b"host")]
        if (self.names or (self.open and self.local)) and not all(map(self._is_ours, hosts)):
            message = "this server has no such name: add it to allowed_hosts"
            return ApiError(421, message, code="unknown_host")
        origins = list(values_of(scope, b"origin"))
        if self.open and not all(self._may_ask(origin, hosts) for origin in origins):
            message = "pages of other origins may not ask this server: see allowed_hosts"
            return ApiError(403, message, code="foreign_origin")
        if scope["method"] in ("POST", "PUT", "PATCH"):
            types = list(values_of(scope, b"content-type"))
            if (origins and not types) or not all(map(_JSON.fullmatch, types)):
                return _NOT_JSON
        return None

    def _is_ours(self, name: str) -> bool:
        private = "." not in name or name.endswith(_PRIVATE)
        return private or _is_address(name) or name in self.names

    def _may_ask(self, origin: bytes, hosts: list[str]) -> bool:
        """Whether a page of that origin is served by us, by this machine or by a name of ours."""
        found = _ORIGIN.fullmatch(origin.decode("latin-1"))
        name = _name(found[1].encode("latin-1")) if found else ""
        return bool(name) and (
            name in hosts or name in self.names or (self.local and _is_loopback(name))
        )


def values_of(scope: Scope, wanted: bytes) -> Iterator[bytes]:
    """The values of a header, in order. Where only one can count it is the first, everywhere."""
    return (value for name, value in scope["headers"] if name == wanted)


def is_local(host: str) -> bool:
    """Whether listening on that address, only this machine is listened to."""
    return _is_loopback(host.lower())


@lru_cache(_REMEMBERED)
def _name(value: bytes) -> str:
    """The name or address in `HOST:PORT`, or a name nobody has."""
    found = _HOST.fullmatch(value.decode("latin-1").strip())
    return found[1].strip("[]").lower().rstrip(".") if found else "unreadable.invalid"


@lru_cache(_REMEMBERED)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    if _is_address(name):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost" or name.endswith(".localhost")
