"""One error out of a group of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def ungrouped(kind: type[Exception]) -> Generator[None]:
    """If the block raises an exception group with errors of this kind, raise the first of them by
    itself. What an `except*` clause raises is put into a group once more before Python 3.11.4."""
    try:
        yield
    except BaseExceptionGroup as group:
        found: BaseException | None = group.subgroup(kind)
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if found is None:
            raise
        raise found from None
