"""Requests that the engine answers by itself: embeddings, and turning text into tokens and back."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import ConfigDict, Field, model_validator

from server.api.field_rules.handed_on import DETOKENIZE, EMBEDDINGS, TOKENIZE
from server.api.field_rules.rule import FieldTable, passed_on, schema_of
from server.api.fields import WHOLE, Count, Name, Strict, Template, TokenId, User, nullable
from server.api.parsing import FieldInvalid
from server.api.request_parts.chat_message import Message, Messages
from server.api.request_parts.grammar import MAX_FORMAT_BYTES, within
from server.api.request_parts.text_prompt import Input
from server.engine.base import Service, size_of

_Template = Annotated[dict[str, Any], within(MAX_FORMAT_BYTES)]


def _add_rules(schema: dict[str, Any], kind: type["HandedOn"]) -> None:
    nullable(schema)
    schema["properties"] |= schema_of(kind.table)
    absent = {name: {"type": "null"} for name in kind.asked}
    schema["oneOf"] = [
        {"required": [one], "properties": {**absent, one: {"not": {"type": "null"}}}}
        for one in kind.asked
    ]


class HandedOn(Strict):
    """What these requests have in common. Without a `model` the live one is meant."""

    model_config = ConfigDict(json_schema_extra=_add_rules)

    service: ClassVar[Service]
    table: ClassVar[FieldTable]
    asked: ClassVar[tuple[str, ...]]
    """Fields of which one must be given: what the work is about."""

    model: Name | None = None

    @model_validator(mode="after")
    def _one_is_asked(self) -> Self:
        given = [name for name in self.asked if getattr(self, name) is not None]
        if len(given) != 1:
            either = " or ".join(self.asked)
            raise FieldInvalid(
                (given or self.asked)[0], f"give one of: {either}" if given else f"give {either}"
            )
        return self

    @property
    def for_engine(self) -> dict[str, Any]:
        """The fields that the engine gets."""
        names = passed_on(self.table, single=True) & self.model_fields_set
        given = self.model_dump(include=set(names), exclude_none=True)
        messages: list[Message] | None = getattr(self, "messages", None)
        if messages is not None:
            given["messages"] = [message.for_engine for message in messages]
        return given

    @property
    def size(self) -> int:
        """About how many characters the engine reads for it, a token counting as four."""
        return len(orjson.dumps(self.for_engine))

    def cost(self, reply: Mapping[str, Any]) -> int:
        """Tokens that the engine has read for this reply."""
        raise NotImplementedError


class _Templated(HandedOn):
    """Texts, or messages that the model's chat template makes one of."""

    messages: Messages | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template: Template | None = None
    chat_template_kwargs: _Template | None = None


class EmbeddingsRequest(_Templated):
    """`POST /v1/embeddings`."""

    service, table, asked = Service.EMBEDDINGS, EMBEDDINGS, ("input", "messages")

    input: Input | None = None
    """A text or token ids, or several of either."""
    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] | None = None
    dimensions: Count | None = None
    user: User | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, lt=2**31), WHOLE] | None = None
    truncation_side: Literal["left", "right"] | None = None
    padding: Literal["max_length", "do_not_pad"] | None = None
    cache_salt: Annotated[str, Field(min_length=1, max_length=1_024)] | None = None
    use_activation: bool | None = None
    embed_dtype: Name | None = None
    endianness: Literal["native", "big", "little"] | None = None

    def cost(self, reply: Mapping[str, Any]) -> int:
        usage: Mapping[str, int] = reply.get("usage") or {}
        return usage.get("total_tokens") or 0


class TokenizeRequest(_Templated):
    """`POST /tokenize`."""

    service, table, asked = Service.TOKENIZE, TOKENIZE, ("prompt", "messages")

    prompt: str | None = None
    return_token_strs: bool | None = None
    tools: (
        Annotated[list[dict[str, Any]], Field(fail_fast=True), within(MAX_FORMAT_BYTES)] | None
    ) = None

    def cost(self, reply: Mapping[str, Any]) -> int:
        return int(reply.get("count") or 0)


class DetokenizeRequest(HandedOn):
    """`POST /detokenize`."""

    service, table, asked = Service.DETOKENIZE, DETOKENIZE, ("tokens",)

    tokens: Annotated[list[TokenId], Field(fail_fast=True)] | None = None

    @property
    def size(self) -> int:
        return size_of(self.tokens or [])

    def cost(self, reply: Mapping[str, Any]) -> int:
        return len(self.tokens or ())
