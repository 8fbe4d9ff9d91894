from hypothesis import given
from hypothesis import strategies as st

from rewards.rollouts import Rollout
from rewards.votes import answers_of, take_vote


def test_majority_wins_across_equal_forms() -> None:
    vote = take_vote(["1/2", "3", "0.5", "3", r"\frac{1}{2}", None])
    assert (vote.answer, vote.winner, vote.valid, vote.total) == ("1/2", 0, 5, 6)
    assert vote.counts == {"1/2": 3, "3": 2}
    assert vote.agreement == 0.5
    assert vote.margin == (3 - 2) / 6


def test_a_tie_goes_to_the_answer_seen_first() -> None:
    assert take_vote([None, "7", "8", "8", "7"]).answer == "7"


def test_nobody_answered() -> None:
    vote = take_vote([None, None])
    assert (vote.answer, vote.winner, vote.agreement, vote.margin) == (None, None, 0.0, 0.0)


def test_a_truncated_rollout_has_no_vote() -> None:
    rollouts = [Rollout(r"\boxed{1}", [1], [-0.1], end) for end in ("length", "stop", "abort")]
    assert answers_of(rollouts) == [None, "1", None]


@given(st.lists(st.sampled_from(["1", "2", "3", None]), max_size=20), st.randoms())
def test_counts_do_not_depend_on_order(answers: list[str | None], random) -> None:
    shuffled = random.sample(answers, len(answers))
    assert take_vote(answers).counts == take_vote(shuffled).counts
