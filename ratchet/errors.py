"""Errors that end a command, with one line and an exit status."""


class ConfigurationError(Exception):
    """A setting is unknown or has an invalid value; the message names it."""


class StackFailed(Exception):
    """A process of the stack does not start; the message ends with the tail of its log."""
