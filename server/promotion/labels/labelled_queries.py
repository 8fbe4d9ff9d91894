"""The operator's own labelled questions for the gate, read from a file.

Labels stay in this process and decide promotions only; they are never rewarded (invariant I10).
"""

from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from rewards.answer_choice import AnswerChoice, ChoiceInvalid
from rewards.answers.kinds import AnswerKinds
from server.recording.reservoir import Query


class LabelledQueriesInvalid(ValueError):
    """The file of labelled questions cannot be used; the message names file, line and field."""


def _as_text(value: Any) -> Any:
    """An answer of JSON as its text."""
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    question: str | None = None
    messages: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    answer: Annotated[str, BeforeValidator(_as_text)] = Field(
        min_length=1, coerce_numbers_to_str=True
    )
    kind: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    response_format: dict[str, Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the engine is asked with."""
        given = {"tools": self.tools, "response_format": self.response_format}
        return {name: value for name, value in given.items() if value}

    def choice(self, usual: AnswerChoice) -> AnswerChoice:
        """How answers to it are read. Raises ChoiceInvalid."""
        if self.kind is not None:
            return AnswerChoice.from_json(self.kind)
        if self.tools:
            return AnswerChoice("tool_calls")
        return AnswerChoice("json") if self.response_format else usual

    @model_validator(mode="after")
    def _one_of_them(self) -> "_Line":
        if (self.question is None) == (self.messages is None):
            raise ValueError("give either question or messages")
        return self


def read_labelled_queries(file: Path, usual: AnswerChoice, kinds: AnswerKinds) -> list[Query]:
    """The queries of a file: a JSON object a line with `question` (text) or `messages`, and
    `answer`; `kind` if it is not read as `usual`, `tools` or `response_format` if they are asked
    with. Raises LabelledQueriesInvalid."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelledQueriesInvalid(f"gate_file {file}: {error}") from None
    queries: list[Query] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _Line.model_validate_json(line)
            choice = row.choice(usual)
            kinds.of(choice)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "line"
            raise LabelledQueriesInvalid(
                f"gate_file {file}, line {number}, {field}: {first['msg']}"
            ) from None
        except ChoiceInvalid as error:
            raise LabelledQueriesInvalid(f"gate_file {file}, line {number}, {error}") from None
        messages = row.messages or [{"role": "user", "content": row.question}]
        queries.append(Query(messages, row.options, row.answer, answer=choice))
    if not queries:
        raise LabelledQueriesInvalid(f"gate_file {file}: it has no questions")
    return queries
