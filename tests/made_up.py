"""Made-up requests to every route: what clients send, with something wrong, huge or missing."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server.api.field_rules.tables import TABLES

SECRET = "Zanzibarquux"
"""In every prompt: no error and no line of the log repeats it."""
_SAY = [{"role": "user", "content": f"2+2? {SECRET}"}]
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
VALID: dict[str, Sequence[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {"model": "ratchet", "messages": _SAY},
        {"model": "ratchet@base", "messages": _SAY, "stream": True},
        {"model": "ratchet", "messages": _SAY, "ratchet": {"rollouts": 1}, "stream": True},
        {"model": "ratchet", "messages": _SAY, "n": 2, "tools": [_TOOL], "tool_choice": "auto"},
        {"model": "ratchet", "messages": _SAY, "response_format": {"type": "json_object"},
         "ratchet": {"stream": "progress", "answer": {"kind": "choice", "options": ["a", "b"]}}},
        {"model": "ratchet", "stream": True, "stream_options": {"include_usage": True},
         "ratchet": {"stream": "first", "rollouts": 3, "strategy": "reflect"},
         "messages": [{"role": "system", "content": "Be brief."}, *_SAY,
                      {"role": "assistant", "content": None, "tool_calls": [
                          {"id": "c", "type": "function",
                           "function": {"name": "f", "arguments": "{}"}}]},
                      {"role": "tool", "tool_call_id": "c", "content": [
                          {"type": "text", "text": "4"}]}]},
    ],
    "/v1/completions": [
        {"model": "ratchet", "prompt": f"2+2= {SECRET}", "max_tokens": 5, "stop": ["x"]},
        {"model": "ratchet", "prompt": [[1, 2], [3]], "logprobs": 1},
        {"model": "ratchet", "prompt": ["a", "b"], "stream": True, "echo": True, "max_tokens": 0},
    ],
    "/v1/responses": [
        {"model": "ratchet", "input": f"2+2? {SECRET}", "instructions": "Be brief."},
        {"model": "ratchet", "input": [{"role": "user", "content": [
            {"type": "input_text", "text": SECRET}]}, {"type": "reasoning", "summary": []}],
         "stream": True, "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}},
    ],
    "/v1/messages": [
        {"model": "ratchet", "max_tokens": 9, "messages": _SAY, "system": "Be brief."},
        {"model": "ratchet", "max_tokens": 9, "stream": True, "thinking": {"type": "enabled"},
         "messages": [{"role": "user", "content": [{"type": "text", "text": SECRET}]}],
         "tools": [{"name": "f", "input_schema": {}}], "metadata": {"user_id": "u"}},
    ],
    "/v1/messages/count_tokens": [{"model": "ratchet", "messages": _SAY}],
    "/v1/embeddings": [{"model": "ratchet", "input": [SECRET, "b"], "dimensions": 8}],
    "/tokenize": [{"prompt": SECRET}, {"messages": _SAY, "add_generation_prompt": True}],
    "/detokenize": [{"tokens": [1, 2, 3]}],
    "/v1/feedback": [{"completion_id": "chatcmpl-0", "label": "4"},
                     {"completion_id": "chatcmpl-0", "correct": True}],
}  # fmt: skip
"""Route -> bodies that it takes."""
_PATHS = ("/v1/models", "/v1/models/ratchet", "/v1/models/%00", "/livez", "/readyz", "/health",
          "/metrics", "/", "/live", "/live?since=x", "/live?after=-1", "/live?since=1e999",
          "/page/page.js", "/page/../x", "/openapi.json", "/nowhere", "//", "/v1/chat")  # fmt: skip
_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST", "TRACE")
_TYPES = ("application/json", "application/json; charset=utf-8", "text/plain", "", "a/b; c")


@dataclass(frozen=True, slots=True)
class MadeUp:
    """One request, and after how many bytes of the reply the client hangs up, if it does."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    hangs_up: int | None = None


class Maker:
    """Makes requests up, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.ids: list[str] = ["chatcmpl-0"]
        """Ids of replies, to give feedback on."""

    def request(self) -> MadeUp:
        """The next one."""
        rng = self._rng
        if rng.random() < 0.04:
            body = rng.choice([b"", b"{}", b"\xff", b"null"])
            return MadeUp(rng.choice(_METHODS), rng.choice(_PATHS), self._headers(), body)
        path = rng.choice(list(VALID))
        body = json.loads(json.dumps(rng.choice(VALID[path])))
        if path == "/v1/feedback":
            body["completion_id"] = rng.choice(self.ids)
        for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 4))):
            self._spoil(path, body)
        _unhurried(body)
        content = self._written(body)
        gone = rng.choice((0, 1, 200)) if rng.random() < 0.03 else None
        return MadeUp("POST", path, self._headers(), content, gone)

    def _headers(self) -> list[tuple[str, str]]:
        rng = self._rng
        kind = "application/json" if rng.random() < 0.97 else rng.choice(_TYPES)
        headers = [("content-type", kind)]
        if rng.random() < 0.05:
            more = (("x-ratchet-train", "no"), ("authorization", "Bearer x"), ("x-" + "y" * 99, ""),
                    ("accept-encoding", "gzip"), ("anthropic-version", "2"), ("cookie", "z" * 5000),
                    ("origin", "null"), ("content-encoding", "gzip"))  # fmt: skip
            headers += rng.sample(more, rng.randint(1, 4))
        return headers

    def _spoil(self, path: str, body: dict[str, Any]) -> None:
        """Change, add or remove something, at any depth."""
        rng, places = self._rng, _places(body)
        if not places or (rng.random() < 0.4 and path in TABLES):
            body[rng.choice(list(TABLES.get(path, VALID[path][0])))] = self._value()
            return
        at, key = rng.choice(places)
        what = rng.random()
        if what < 0.6:
            at[key] = self._value()
        elif what < 0.75 and isinstance(at, dict):
            del at[key]
        elif isinstance(at, list):
            at.extend([at[key]] * rng.choice((1, 3, 50)))
        else:
            at[rng.choice(("colour", "type", "role", "content", "x" * 300))] = self._value()

    def _value(self) -> Any:
        rng = self._rng
        return rng.choice(_VALUES)(rng)

    def _written(self, body: dict[str, Any]) -> bytes:
        """As JSON, which may be broken."""
        rng, content = self._rng, bytearray(json.dumps(body).encode())
        what = rng.random()
        if what < 0.02:
            return bytes(content[: rng.randrange(len(content))])
        if what < 0.04:
            content[rng.randrange(len(content))] = rng.randrange(256)
        elif what < 0.05:
            content += rng.choice((b"{}", b"\x00", b",", b"]"))
        return bytes(content)


_VALUES: Sequence[Callable[[random.Random], Any]] = (
    lambda rng: rng.choice((None, True, False, 0, 1, 2, -1, 3, 7.0, 1.5, 1e308, -0.0)),
    lambda rng: rng.choice((2**31, 2**63, 2**64, -(2**63), 10**30, 10 ** rng.randrange(400))),
    lambda rng: rng.choice((float("nan"), float("inf"), -float("inf"))),
    lambda rng: rng.choice(("", " ", "x", "4", "null", "auto", "none", "required", "a/b")),
    lambda rng: rng.choice(("\ud800", "\x00", "\u2028", "\ufdfa" * 100, "\U0001f600", "é" * 500)),
    lambda rng: "y" * rng.choice((100, 1_000, 10_000, 200_000)),
    lambda rng: rng.choice(([], {}, [[]], [{}], {"": {}}, [None], [0] * 300, [""] * 300)),
    lambda rng: _nested(rng.choice((5, 60, 200, 400)), rng.random() < 0.5),
    lambda rng: {f"k{at}": at for at in range(rng.choice((3, 300, 3_000)))},
    lambda rng: {"type": rng.choice(("text", "function", "json_schema", "image_url", "x", "tool"))},
    lambda rng: [{"role": rng.choice(("user", "tool", "system", "nobody")), "content": "hi"}],
    lambda rng: rng.choice((r"\frac{1}{2}", "(a+)+$", "x^{x^{x}}", "(" * 300, '{"a": [1, 2]}')),
    lambda rng: {"kind": rng.choice(("choice", "pattern", "math", "json", "?")), "pattern": "(a"},
)  # fmt: skip


def _nested(depth: int, lists: bool) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    return value


def _places(value: Any, levels: int = 8) -> list[tuple[Any, Any]]:
    """Every container and key in a body, so many levels deep."""
    keys = range(len(value)) if isinstance(value, list) else list(value)
    found = [(value, key) for key in keys]
    for key in keys:
        if levels and isinstance(value[key], dict | list):
            found += _places(value[key], levels - 1)
    return found


def _unhurried(body: dict[str, Any]) -> None:
    """A deadline of moments is a 504 that is right."""
    ours = body.get("ratchet")
    if isinstance(ours, dict) and isinstance(ours.get("deadline"), int | float):
        ours["deadline"] = max(30, ours["deadline"]) if ours["deadline"] > 0 else ours["deadline"]
