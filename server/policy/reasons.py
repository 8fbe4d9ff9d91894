"""Why the rollouts of an answer are not recorded for the learner."""

from enum import StrEnum


class Unrecorded(StrEnum):
    """As replies have it in `ratchet.reason`; docs/api.md explains each."""

    OPTED_OUT = "opted_out"
    PINNED_VERSION = "pinned_version"
    NO_ANSWER = "no_answer"
    TRUNCATED_SAMPLING = "truncated_sampling"
    ALTERED_SAMPLING = "altered_sampling"
    PARTIAL = "partial"
    SHED = "shed"
    SINGLE = "single"
    BUFFER_UNAVAILABLE = "buffer_unavailable"
    RECORDER_FULL = "recorder_full"
    UNUSABLE = "unusable"
    """The engine's reply had nothing to learn from. Found out after the reply."""
