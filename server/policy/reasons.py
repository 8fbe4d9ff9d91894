"""Why an answer is null, and why its rollouts are not recorded for the learner."""

from enum import StrEnum


class Unrecorded(StrEnum):
    """The values of `ratchet.reason` in replies; docs/api.md explains each."""

    OPTED_OUT = "opted_out"
    PINNED_VERSION = "pinned_version"
    NO_ANSWER = "no_answer"
    NO_CONSENSUS = "no_consensus"
    MEDOID = "medoid"
    KIND_NOT_TRAINED = "kind_not_trained"
    LOW_AGREEMENT = "low_agreement"
    GRAMMAR = "grammar"
    TRUNCATED_SAMPLING = "truncated_sampling"
    ALTERED_SAMPLING = "altered_sampling"
    PARTIAL = "partial"
    SHED = "shed"
    SINGLE = "single"
    HELD_OUT = "held_out"
    BUFFER_UNAVAILABLE = "buffer_unavailable"
    RECORDER_FULL = "recorder_full"
    UNUSABLE = "unusable"
    """The engine's reply has nothing to learn from, which shows only after our reply."""
