"""The operator's own labelled questions for the gate, read from a file.

Labels stay in this process and decide promotions only; they are never rewarded (invariant I10).
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from server.recording.reservoir import Query


class LabelledQueriesInvalid(ValueError):
    """The file of labelled questions cannot be used; the message names file, line and field."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    question: str | None = None
    messages: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    answer: str = Field(min_length=1, coerce_numbers_to_str=True)

    @model_validator(mode="after")
    def _one_of_them(self) -> "_Line":
        if (self.question is None) == (self.messages is None):
            raise ValueError("give either question or messages")
        return self


def read_labelled_queries(file: Path) -> list[Query]:
    """The queries of a file: a JSON object a line with `question` (text) or `messages`, and
    `answer`. Raises LabelledQueriesInvalid."""
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
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "line"
            raise LabelledQueriesInvalid(
                f"gate_file {file}, line {number}, {field}: {first['msg']}"
            ) from None
        messages = row.messages or [{"role": "user", "content": row.question}]
        queries.append(Query(messages, {}, row.answer))
    if not queries:
        raise LabelledQueriesInvalid(f"gate_file {file}: it has no questions")
    return queries
