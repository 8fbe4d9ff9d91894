"""What clients send to say how good an answer was."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from server.api.fields import Strict


class FeedbackRequest(Strict):
    """`POST /v1/feedback`: either the right answer, or a verdict on the one given."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [one],
                 "properties": {one: {"not": {"type": "null"}}, other: {"type": "null"}}}
                for one, other in (("label", "correct"), ("correct", "label"))
            ]
        }
    )  # fmt: skip

    completion_id: Annotated[str, Field(min_length=1, max_length=128)]
    """The `id` of the voted reply."""
    label: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    """The right answer."""
    correct: bool | None = None
    """Whether the answer given was right."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.label is None) == (self.correct is None):
            raise ValueError("give either label or correct")
        return self
