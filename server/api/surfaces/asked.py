"""A surface: what clients send becomes a chat request, the chat's reply becomes what they get.

A chat is the one form inside. A request class of another surface says by `asked` which chat it
stands for, and who writes the reply.
"""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from pydantic import ConfigDict, ValidationError

from server.api.errors import ApiError, api_error
from server.api.field_rules.rule import FieldTable, schema_of
from server.api.fields import Strict, nullable
from server.api.handed_on import TokenizeRequest
from server.api.parsing import invalid
from server.api.requests import ChatRequest, SamplingRequest
from server.api.surfaces.writing import Writer
from server.engine.base import EngineError

_END, _DATA, _DONE = b"\n\n", b"data: ", b"[DONE]"


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that a client's stands for, the writer of the reply if a chat's form will not do,
    and the client's `names` for a chat's fields where they differ."""

    request: SamplingRequest
    writer: Writer | None = None
    names: Mapping[str, str] | None = None

    @contextmanager
    def in_its_words(self) -> Generator[None]:
        """Raise what goes wrong in the block as an ApiError that names the client's own field."""
        try:
            yield
        except (ApiError, EngineError) as error:
            told = renamed(api_error(error), self.names or {})
            if told is error:
                raise
            raise told from error

    async def written(self, events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """A chat's events as the writer has them. A failure before the first is raised."""
        writer, started = self.writer, False
        assert writer is not None
        async with aclosing(events):
            try:
                with self.in_its_words():
                    async for sent in events:
                        if rewritten := _rewritten(sent, writer):
                            started = True
                            yield rewritten
            except ApiError as error:
                if not started:
                    raise
                yield writer.failure(error)


def _add_rules(schema: dict[str, Any], kind: type["SurfaceRequest"]) -> None:
    """Say in a request's schema what its table says, and which fields depend on others."""
    taken = {name: field for name, field in schema["properties"].items() if name in kind.table}
    schema["properties"] = taken
    nullable(schema)
    schema["properties"] |= schema_of(kind.table)
    schema["allOf"] = list(kind.rules)


class SurfaceRequest(Strict):
    """A client's request that stands for a chat."""

    model_config = ConfigDict(json_schema_extra=_add_rules)

    table: ClassVar[FieldTable]
    """What becomes of each field; `parse` reads bodies by it."""
    rules: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """JSON Schema of how the fields depend on one another."""

    def asked(self) -> Asked:
        """The chat, and how its reply is written. Raises ApiError."""
        raise NotImplementedError


def asked_by(request: SamplingRequest | SurfaceRequest) -> Asked:
    """What a client's request of any surface asks for. Raises ApiError."""
    return Asked(request) if isinstance(request, SamplingRequest) else request.asked()


class Translated(ChatRequest):
    """A chat that stands for a request of another surface. Its reply has the id that the writer
    knows."""

    reply_id: str

    def new_id(self, prefix: str) -> str:
        return self.reply_id

    @property
    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in super()._given.items() if name in self.table}

    @property
    def to_count(self) -> TokenizeRequest:
        """The request that has the engine count the prompt's tokens."""
        template, effort = self.chat_template_kwargs or {}, self.reasoning_effort
        if effort is not None:  # as vLLM gives it to chat templates
            template = {"reasoning_effort": effort, "enable_thinking": effort != "none", **template}
        fields: dict[str, Any] = {
            "model": self.model,
            "messages": self.messages,
            "tools": list(self.offered_tools) or None,
            "chat_template_kwargs": template or None,
        }
        return TokenizeRequest.model_construct(**fields)

    @classmethod
    def of(cls, fields: Mapping[str, Any], names: Mapping[str, str]) -> "Translated":
        """The chat with these fields, without nulls. Raises ApiError by the client's `names`."""
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise renamed(invalid(error, given), names) from None


def renamed(error: ApiError, names: Mapping[str, str]) -> ApiError:
    """The error with the client's name for the chat's field that is at fault."""
    at = error.param or ""
    name = names.get(at.partition(".")[0])
    if name is None:
        return error
    message = name + error.message[len(at) :] if error.message.startswith(at) else error.message
    return ApiError(error.status, message, param=name, code=error.code)


def _rewritten(sent: bytes, writer: Writer) -> bytes:
    """Whole events, or a comment: nobody writes half an event. No JSON has an empty line."""
    if not sent.startswith(_DATA):
        return writer.keep_alive(sent)
    written: list[bytes] = []
    for event in sent.removesuffix(_END).split(_END):
        data = event.removeprefix(_DATA)
        written.append(writer.end() if data == _DONE else writer.chunk(orjson.loads(data)))
    return b"".join(written)
