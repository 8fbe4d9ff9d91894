"""The turns of a Messages request and the content blocks in them.

https://docs.claude.com/en/api/messages, `messages` and `system`
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from server.api.fields import MAX_PARTS, NonEmpty
from server.api.request_parts.part import Part
from server.api.surfaces.by_type import LIST, TEXT, TEXT_OR_LIST, Json, by_type

_TEXT_ONLY = "only text is read here"
_NOT_HERE = "is nothing that this server has, or nothing for this side to say"


class TextBlock(Part):
    """A piece of text."""

    type: Literal["text"]
    text: str


Texts = Annotated[
    Annotated[str, TEXT]
    | Annotated[
        list[Annotated[TextBlock, by_type(TextBlock, refusal=_TEXT_ONLY)]],
        Field(fail_fast=True, max_length=MAX_PARTS),
        LIST,
    ],
    TEXT_OR_LIST,
]
"""A text, or blocks of it."""


class PlainSource(Part):
    """A document of plain text."""

    type: Literal["text"]
    data: str


class TextsSource(Part):
    """A document in pieces of text."""

    type: Literal["content"]
    content: Texts


class DocumentBlock(Part):
    """A document; only one of text can be read."""

    type: Literal["document"]
    source: Annotated[
        PlainSource | TextsSource, by_type(PlainSource, TextsSource, refusal=_TEXT_ONLY)
    ]
    title: str | None = None
    context: str | None = None

    @property
    def text(self) -> str:
        """All that it says."""
        source = self.source
        said = source.data if isinstance(source, PlainSource) else joined(source.content)
        return "\n".join(part for part in (self.title, self.context, said) if part)


class SearchResultBlock(Part):
    """What a client's own search has found."""

    type: Literal["search_result"]
    source: str
    title: str
    content: Annotated[list[TextBlock], Field(fail_fast=True, max_length=MAX_PARTS)]

    @property
    def text(self) -> str:
        """All that it says."""
        return "\n".join([self.title, self.source, joined(self.content)])


class ToolReferenceBlock(Part):
    """The name of a tool that was looked up."""

    type: Literal["tool_reference"]
    tool_name: str

    @property
    def text(self) -> str:
        """The name."""
        return self.tool_name


_READABLE = (TextBlock, DocumentBlock, SearchResultBlock)
ReadableBlock = TextBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock
"""A block that is a text in the end."""


class ToolResultBlock(Part):
    """What a call has brought. Whether that is an error, its text says."""

    type: Literal["tool_result"]
    tool_use_id: NonEmpty
    content: (
        Annotated[
            Annotated[str, TEXT]
            | Annotated[
                list[
                    Annotated[
                        ReadableBlock,
                        by_type(*_READABLE, ToolReferenceBlock, refusal=_TEXT_ONLY),
                    ]
                ],
                Field(fail_fast=True, max_length=MAX_PARTS),
                LIST,
            ],
            TEXT_OR_LIST,
        ]
        | None
    ) = None


class ToolUseBlock(Part):
    """A call that the model has made."""

    type: Literal["tool_use"]
    id: NonEmpty
    name: NonEmpty
    input: Json


class ThinkingBlock(Part):
    """What the model has thought."""

    type: Literal["thinking"]
    thinking: str


class RedactedThinkingBlock(Part):
    """Reasoning that only its author can read. It is left out."""

    type: Literal["redacted_thinking"]


class UserTurn(Part):
    """What the user says, and what calls have brought."""

    role: Literal["user"]
    content: Annotated[
        Annotated[str, TEXT]
        | Annotated[
            list[
                Annotated[
                    TextBlock | DocumentBlock | SearchResultBlock | ToolResultBlock,
                    by_type(*_READABLE, ToolResultBlock, refusal=_NOT_HERE),
                ]
            ],
            Field(fail_fast=True, max_length=MAX_PARTS),
            LIST,
        ],
        TEXT_OR_LIST,
    ]


_ASSISTANT = (TextBlock, ThinkingBlock, RedactedThinkingBlock, ToolUseBlock)


class AssistantTurn(Part):
    """What the model has thought, said and called."""

    role: Literal["assistant"]
    content: Annotated[
        Annotated[str, TEXT]
        | Annotated[
            list[
                Annotated[
                    TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock,
                    by_type(*_ASSISTANT, refusal=_NOT_HERE),
                ]
            ],
            Field(fail_fast=True, max_length=MAX_PARTS),
            LIST,
        ],
        TEXT_OR_LIST,
    ]


class SystemTurn(Part):
    """What the operator says in between."""

    role: Literal["system"]
    content: Texts


Turn = Annotated[
    UserTurn | AssistantTurn | SystemTurn,
    by_type(UserTurn, AssistantTurn, SystemTurn, key="role", refusal="is nobody here"),
]


def joined(content: str | Iterable[ReadableBlock]) -> str:
    """Content as one text."""
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
