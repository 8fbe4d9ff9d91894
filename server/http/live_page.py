"""The live page at `/` and the figures it asks for: read-only, no requests to anywhere else.

It is made of the files in `server/http/page/`, as they are. Every text is put in as text, never as
markup, and the Content-Security-Policy lets nothing else run.
"""

import gzip
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import Response

from adapter.store.releases import AdapterRelease
from server.api.errors import ApiError

if TYPE_CHECKING:  # it is made of everything, this among it
    from server.parts import Parts

_SHOWN_RELEASES = 40
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
    def read(name: str, media_type: str) -> "Asset":
        """From the files that come with the server."""
        content = resources.files("server.http").joinpath("page", name).read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        compressed = gzip.compress(content, mtime=0)
        return Asset(content, compressed, {**_HEADERS, "content-type": media_type, "etag": tag})

    def response(self, http: Request) -> Response:
        """Nothing where the browser has it already; compressed where it understands that."""
        headers = dict(self.headers)
        if http.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        headers["vary"] = "accept-encoding"
        if _takes_gzip(http):
            return Response(self.compressed, headers={**headers, "content-encoding": "gzip"})
        return Response(self.content, headers=headers)


_ASSETS = {
    path: Asset.read(name, f"{media_type}; charset=utf-8")
    for path, name, media_type in (
        ("/", "page.html", "text/html"),
        ("/page/page.css", "page.css", "text/css"),
        ("/page/charts.js", "charts.js", "text/javascript"),
        ("/page/page.js", "page.js", "text/javascript"),
        ("/page/ask.js", "ask.js", "text/javascript"),
        ("/page/uplot.css", "uplot.css", "text/css"),
        ("/page/uplot.js", "uplot.js", "text/javascript"),
        ("/page/icon.svg", "icon.svg", "image/svg+xml"),
    )
}

PAGE_PATHS = frozenset({*_ASSETS, _STATE_PATH})
"""Paths of the page, which need no key."""


class LivePage:
    """The routes of one server process."""

    def __init__(self, parts: "Parts") -> None:
        self._parts = parts

    def add_to(self, app: FastAPI) -> None:
        """Offer the page."""
        for path in _ASSETS:
            app.add_api_route(path, self.asset, methods=["GET", "HEAD"], include_in_schema=False)
        app.add_api_route(_STATE_PATH, self.state, methods=["GET"], include_in_schema=False)

    async def asset(self, http: Request) -> Response:
        """A file of the page."""
        return _ASSETS[http.scope["path"]].response(http)

    async def state(self, http: Request) -> Response:
        """What has happened since the time `since` and the vote `after`, and how things stand."""
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
            "releases": [_shown(release) for release in reversed(releases)],
        }
        body, headers = orjson.dumps(content), {**_HEADERS, "content-type": "application/json"}
        if len(body) > _WORTH_COMPRESSING and _takes_gzip(http):
            body = gzip.compress(body, compresslevel=1)
            headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        return Response(body, headers=headers)


def _takes_gzip(http: Request) -> bool:
    return "gzip" in http.headers.get("accept-encoding", "")


def _shown(release: AdapterRelease) -> dict[str, Any]:
    found = {**release.metrics, **release.numbers}
    return {
        "version": release.version,
        "parent": release.parent,
        "state": release.state.value,
        "reason": release.reason,
        "at": release.created_at,
        "groups": len(release.sample_ids),
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
