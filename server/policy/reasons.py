"""Why an answer is null, why rollouts are not recorded, and why connections are hung up on."""

from enum import StrEnum

from adapter.store.buffer import Append


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
    TOO_LARGE = "too_large"
    SINGLE = "single"
    HELD_OUT = "held_out"
    AGREED = "agreed"
    RESTS = "rests"
    BUFFER_UNAVAILABLE = "buffer_unavailable"
    RECORDER_FULL = "recorder_full"
    UNUSABLE = "unusable"
    """The engine's reply has nothing to learn from, which shows only after our reply."""


class Refusal(StrEnum):
    """Why a connection is hung up on, before a whole request has come or a whole reply gone."""

    HEADER_BYTES = "header_bytes"
    HEADERS = "headers"
    HEADER_TIME = "header_time"
    BODY_TIME = "body_time"
    REPLY_TIME = "reply_time"
    UNPARSED_BYTES = "unparsed_bytes"
    PIPELINE = "pipeline"
    INVALID = "invalid"


OUTCOMES = (
    *Append, Unrecorded.RECORDER_FULL, Unrecorded.BUFFER_UNAVAILABLE, Unrecorded.UNUSABLE,
    Unrecorded.PARTIAL, Unrecorded.NO_ANSWER, Unrecorded.NO_CONSENSUS, Unrecorded.MEDOID,
    Unrecorded.KIND_NOT_TRAINED, Unrecorded.LOW_AGREEMENT, Unrecorded.GRAMMAR, Unrecorded.HELD_OUT,
    Unrecorded.AGREED, Unrecorded.RESTS,
)  # fmt: skip
"""What may become of a group that was to be recorded."""
VOTES = ("answered", Unrecorded.NO_CONSENSUS, Unrecorded.MEDOID, Unrecorded.NO_ANSWER)
"""What may come of a vote."""
