"""What the learner gets."""

from server.policy.reasons import Unrecorded
from server.recording.trainable import Trainable


def test_kinds_and_agreement_decide() -> None:
    trainable = Trainable({"math", "short"}, 0.25)
    assert trainable.refusal("math", 0.25) is None
    assert trainable.refusal("short", 0.24) is Unrecorded.LOW_AGREEMENT
    assert trainable.refusal("json", 1.0) is Unrecorded.KIND_NOT_TRAINED
    assert Trainable({"text"}, 0.25).refusal("text", 0.0) is None  # it has no leading answer
