"""Cross-origin requests of browsers: https://fetch.spec.whatwg.org/#http-cors-protocol.

Nothing is allowed unless the operator names origins. Keys are sent as a header by the page itself,
never by the browser, so credentials are not allowed.
"""

from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import Scope

Headers = list[tuple[bytes, bytes]]

_METHODS = b"GET, HEAD, POST, OPTIONS"
_SHOWN = b"x-request-id, x-ratchet-overhead-ms, retry-after, retry-after-ms"
_SECONDS = b"600"


class Origins:
    """The origins that may ask, `*` for all; from a list that is separated by commas."""

    def __init__(self, listed: str) -> None:
        names = (name.strip().rstrip("/") for name in listed.split(","))
        self._allowed = frozenset(name.encode() for name in names if name)

    def headers(self, scope: Scope) -> Headers:
        """What a reply says to the page that asked."""
        if not self._allowed:
            return []
        if b"*" in self._allowed:
            allowed: Headers = [(b"access-control-allow-origin", b"*")]
        else:
            origin = _values(scope, b"origin")
            allowed = [(b"vary", b"origin")]
            if len(origin) != 1 or origin[0] not in self._allowed:
                return allowed
            allowed.append((b"access-control-allow-origin", origin[0]))
        return [*allowed, (b"access-control-expose-headers", _SHOWN)]

    def preflight(self, scope: Scope) -> Response | None:
        """The answer if a browser asks beforehand whether it may; without a key, which it never
        sends with that."""
        asks = scope["method"] == "OPTIONS" and _values(scope, b"access-control-request-method")
        if not asks or not any(
            name.startswith(b"access-control-a") for name, _ in self.headers(scope)
        ):
            return None
        response = Response(status_code=204)
        response.raw_headers += [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", b", ".join(_asked_headers(scope)) or b"*"),
            (b"access-control-max-age", _SECONDS),
        ]
        return response


def _asked_headers(scope: Scope) -> Iterable[bytes]:
    """The headers that the page wants to send: any may, and `*` would leave out Authorization."""
    return _values(scope, b"access-control-request-headers")


def _values(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]
