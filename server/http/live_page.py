"""The live page at `/` and the figures it asks for: read-only, no requests to anywhere else.

It is served from the files in `server/http/page/`, unchanged. They insert every text as text, never
as markup, and the Content-Security-Policy lets no other script run.
"""

import gzip
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import Response

from adapter.explanation import explanation
from adapter.store.releases import AdapterRelease
from server.api.errors import ApiError
from server.parts import Parts

_SHOWN_RELEASES, _EXPLAINED = 40, 10
_STATE_PATH = "/live"
_WORTH_COMPRESSING = 10_000
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_TYPES = {
    ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"
}  # fmt: skip
_NUMBERS = {
    "kl": "kl",
    "against_parent": "gate/against_parent/mean",
    "against_base": "gate/against_base/mean",
    "queries": "gate/against_parent/queries",
    "seconds": "seconds/total",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, also compressed."""

    content: bytes
    compressed: bytes
    headers: Mapping[str, str]

    @staticmethod
    def read(file: Path) -> "Asset":
        """The asset in a file of a known type."""
        content = file.read_bytes()
        headers = {
            **_HEADERS,
            "content-type": f"{_TYPES[file.suffix]}; charset=utf-8",
            "etag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
            "vary": "accept-encoding",
        }
        return Asset(content, gzip.compress(content, mtime=0), headers)

    def response(self, http: Request) -> Response:
        """304 if the browser has it already; compressed if it accepts that."""
        if http.headers.get("if-none-match") == self.headers["etag"]:
            return Response(status_code=304, headers=self.headers)
        if _accepts_gzip(http):
            return Response(self.compressed, headers={**self.headers, "content-encoding": "gzip"})
        return Response(self.content, headers=self.headers)


_ASSETS = {
    "/" if file.name == "page.html" else f"/page/{file.name}": Asset.read(file)
    for file in (Path(__file__).parent / "page").iterdir()
    if file.suffix in _TYPES
}

PAGE_PATHS = frozenset({*_ASSETS, _STATE_PATH})
"""The page's paths; they need no key."""


class LivePage:
    """The routes of one server process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, app: FastAPI) -> None:
        """Add the page's routes."""
        for path in _ASSETS:
            app.add_api_route(path, self.asset, methods=["GET", "HEAD"], include_in_schema=False)
        app.add_api_route(_STATE_PATH, self.state, methods=["GET"], include_in_schema=False)

    async def asset(self, http: Request) -> Response:
        """A file of the page."""
        return _ASSETS[http.scope["path"]].response(http)

    async def state(self, http: Request) -> Response:
        """History since the time `since`, votes after the id `after`, and the current state."""
        parts, settings = self._parts, self._parts.settings
        texts = settings.page_texts and http.scope["tenant"] is not None
        releases = parts.promoter.versions.releases[-_SHOWN_RELEASES:]
        content = {
            "model": parts.policy.name,
            "version": parts.policy.live,
            "ready": parts.engine.up and not parts.draining,
            "engines": {replica.name: replica.up for replica in parts.engine.replicas},
            "buffer": parts.recorder.reachable,
            "paused": parts.promoter.versions.paused,
            "keyed": settings.keys_file is not None,
            "texts": texts,
            "history": parts.history.columns(_number(http, "since")),
            "votes": parts.recent.after(int(_number(http, "after")), texts),
            "releases": [
                _summary(release, at < _EXPLAINED) for at, release in enumerate(reversed(releases))
            ],
        }
        body, headers = orjson.dumps(content), {**_HEADERS, "content-type": "application/json"}
        if len(body) > _WORTH_COMPRESSING and _accepts_gzip(http):
            body = gzip.compress(body, compresslevel=1)
            headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        return Response(body, headers=headers)


def _accepts_gzip(http: Request) -> bool:
    return "gzip" in http.headers.get("accept-encoding", "")


def _summary(release: AdapterRelease, explained: bool) -> dict[str, Any]:
    found = {**release.metrics, **release.numbers}
    return {
        "version": release.version,
        "parent": release.parent,
        "state": release.state.value,
        "reason": release.reason,
        "at": release.created_at,
        "groups": len(release.sample_ids),
        "why": explanation(release) if explained and release.steps else None,
        **{name: found.get(key) for name, key in _NUMBERS.items()},
    }


def _number(http: Request, name: str) -> float:
    try:
        value = float(http.query_params.get(name, "0"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ApiError(400, "must be a number", param=name)
    return value
