from hypothesis import given
from hypothesis import strategies as st

from rewards.votes import take_vote
from tests.unit.rewards.tallies import tally


def test_majority_wins_across_equal_forms() -> None:
    vote = take_vote(tally(["3", "1/2", "0.5", "3", r"\frac{1}{2}", None]))
    assert (vote.answer, vote.winner, vote.cluster) == ("1/2", 1, 1)
    assert (vote.valid, vote.total) == (5, 6)
    assert vote.counts == {"3": 2, "1/2": 3}
    assert vote.agreement == 0.5
    assert vote.margin == (3 - 2) / 6


def test_a_tie_goes_to_the_answer_seen_first() -> None:
    vote = take_vote(tally([None, "7", "8", "8", "7"]))
    assert (vote.answer, vote.margin) == ("7", 0.0)


def test_one_answer_leads_by_all_its_votes() -> None:
    assert take_vote(tally(["7", "7", None, None])).margin == 0.5


def test_nobody_answered() -> None:
    vote = take_vote(tally([None, None]))
    assert (vote.answer, vote.winner, vote.cluster) == (None, None, None)
    assert (vote.agreement, vote.margin, vote.valid, vote.total) == (0.0, 0.0, 0, 2)
    assert vote.counts == {}
    assert take_vote(tally([])).agreement == 0.0


@given(st.lists(st.sampled_from(["1", "2", "3", None]), max_size=20), st.randoms())
def test_counts_do_not_depend_on_order(answers, random) -> None:
    shuffled = random.sample(answers, len(answers))
    assert take_vote(tally(answers)).counts == take_vote(tally(shuffled)).counts
