"""What makes a command give up; each of them ends with one line and a status of its own."""


class ConfigurationError(Exception):
    """A setting is unknown or has a value it cannot have; the message names it."""


class StackFailed(Exception):
    """A part of the stack did not come up; the message ends with its last words."""
