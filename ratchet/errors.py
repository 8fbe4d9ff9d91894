"""Errors that end a command, with one line and an exit status."""

from collections.abc import Generator
from contextlib import contextmanager


class ConfigurationError(Exception):
    """A setting is unknown or has an invalid value; the message names it."""


class StackFailed(Exception):
    """A process of the stack does not start; the message ends with the tail of its log."""


@contextmanager
def as_configuration_error(*kinds: type[Exception]) -> Generator[None]:
    """Exceptions of these kinds become a ConfigurationError in their own words."""
    try:
        yield
    except kinds as error:
        raise ConfigurationError(str(error)) from None
