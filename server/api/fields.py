"""Fields that requests have in common, and the `ratchet` extension."""

from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from rewards.answer_choice import MAX_OPTION_CHARS, MAX_OPTIONS, MAX_PATTERN_BYTES, AnswerChoice
from rewards.answers.kinds import ANSWER_KINDS


def _whole(value: object) -> object:
    """Accept 5.0, which is an integer in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Positive = Annotated[int, Field(ge=1), WHOLE]
Count = Annotated[int, Field(ge=1, le=1_000_000), WHOLE]
TopLogprobs = Annotated[int, Field(ge=0, le=20), WHOLE]
NonEmpty = Annotated[str, Field(min_length=1)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
MAX_MESSAGES, MAX_PARTS, MAX_CALLS = 4_096, 4_096, 512
"""Messages of a chat, parts of one message, and calls of one."""
MAX_NAME_CHARS, MAX_ID_CHARS = 256, 4_096
Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
"""Of a model, a function, or whoever speaks."""
CallId = Annotated[str, Field(max_length=MAX_ID_CHARS)]
"""Some clients keep more in it than a name."""
User = Annotated[str, Field(max_length=512)]
Stop = Annotated[str, Field(max_length=1_024)]
Template = Annotated[str, Field(max_length=65_536)]
MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[int, Field(ge=0, lt=2**31), WHOLE]
_TOKEN_NAME = "^[0-9]{1,9}$"
LogitBias = Annotated[
    dict[Annotated[str, Field(pattern=_TOKEN_NAME)], Bias],
    Field(max_length=1_024),
    WithJsonSchema(
        {
            "type": "object", "additionalProperties": False, "maxProperties": 1_024,
            "patternProperties": {_TOKEN_NAME: {"type": "number", "minimum": -100, "maximum": 100}},
        }
    ),
]  # fmt: skip
"""By token id, which is text as the key of a JSON object."""
_NULL = {"type": "null"}


class Strict(BaseModel):
    """Takes the fields it has, of the types they have."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


def nullable(schema: dict[str, Any]) -> None:
    """Say in an object's schema that null stands for "not given" in every optional field."""
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name in properties.keys() - set(schema.get("required", ())):
        field = properties[name]
        options: list[dict[str, Any]] = field.get("anyOf", [])
        if _NULL in options or field.get("type") == "null" or "$ref" in field:
            continue  # an object of ours says so itself
        if options:
            field["anyOf"] = [*options, _NULL]
        elif "type" in field and not field.keys() & {"enum", "const"}:
            field["type"] = [field["type"], "null"]
        else:
            kept = {k: field.pop(k) for k in ("title", "description", "default") if k in field}
            properties[name] = {"anyOf": [field, _NULL], **kept}


def _optional(schema: dict[str, Any]) -> None:
    """Say that null may stand for an object, and for its fields."""
    nullable(schema)
    schema["type"] = ["object", "null"]


class Options(Strict):
    """An object of optional fields; null stands for "not given" in each of them."""

    model_config = ConfigDict(json_schema_extra=_optional)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = cast("dict[str, Any]", value)
        return {k: v for k, v in given.items() if v is not None or k not in cls.model_fields}


class StreamOptions(Options):
    """OpenAI's `stream_options`."""

    include_usage: bool = False
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


def _kind(names: list[str], **fields: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of an object for these kinds, with the fields that only they have."""
    properties = {"kind": {"enum": names}, **fields}
    required = ["kind", "pattern"] if "pattern" in fields else ["kind"]
    closed = {"type": "object", "additionalProperties": False}
    return {**closed, "required": required, "properties": properties}


_OPTIONS: dict[str, Any] = {
    "type": "array", "minItems": 2, "maxItems": MAX_OPTIONS, "uniqueItems": True,
    "items": {"type": "string", "minLength": 1, "maxLength": MAX_OPTION_CHARS},
}  # fmt: skip
_PLAIN = sorted(ANSWER_KINDS.keys() - {"choice", "pattern", "math", "tool_calls"})
# JSON Schema of an answer choice; `AnswerKinds.of` checks the rest.
_CHOICE: dict[str, Any] = {
    "anyOf": [
        {"enum": sorted(ANSWER_KINDS.keys() - {"pattern"})},
        _kind(_PLAIN),
        _kind(["choice"], options=_OPTIONS),
        _kind(
            ["pattern"],
            pattern={"type": "string", "minLength": 1, "maxLength": MAX_PATTERN_BYTES},
        ),
        _kind(["math"], last_number={"type": "boolean"}),
        _kind(["tool_calls"], parallel={"type": "boolean"}),
    ]
}
Choice = Annotated[AnswerChoice, PlainValidator(AnswerChoice.from_json), WithJsonSchema(_CHOICE)]


class RatchetOptions(Options):
    """Our extension of the request; every field is optional."""

    rollouts: Positive | None = None
    """Most rollouts to vote with; 1 means plain proxying."""
    rollouts_min: Positive | None = None
    """Rollouts to start with; more are drawn only while the vote is open."""
    confidence: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """Answer once the leading answer is the more common one with this probability; 1: once it
    cannot be overtaken."""
    strategy: Literal["majority", "reflect", "single"] = "majority"
    """`majority` votes over the rollouts' answers; `reflect` then shows the model one rollout per
    answer and serves the answer that it chooses, the majority's if it chooses none; `single` passes
    the request through."""
    stream: Literal["vote", "progress", "first"] = "vote"
    """When streaming: `vote` waits for the vote, then sends the winner; `progress` also sends the
    vote so far whenever rollouts come in, in chunks without choices; `first` sends the first
    rollout as it is written, and the vote at the end. Several prompts always wait for their
    votes."""
    answer: Choice | None = None
    """How answers are read and compared: a kind by its name, or an object with `kind` and what that
    kind takes (docs/answers.md). By itself `tools` means `tool_calls`, a JSON `response_format`
    means `json`, and else the server's setting `answer` counts."""
    train: bool = True
    """False keeps the request out of the rollout buffer."""
    deadline: Annotated[float, Field(ge=0.05, le=86_400, allow_inf_nan=False)] | None = None
    """Seconds after which the answer is of no use any more."""
