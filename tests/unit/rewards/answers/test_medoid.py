"""The rollout closest to the others, by numbers worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers.medoid import medoid, text_closeness, text_medoid


def test_closeness_is_the_share_of_words_in_common() -> None:
    assert text_closeness("a b c", "a b d") == 2 * 2 / 6
    assert text_closeness("A dog, ran.", "a dog ran") == 1.0
    assert text_closeness("a", "b") == text_closeness("a", "") == 0.0
    assert text_closeness("", "") == 1.0
    assert text_closeness("これは犬です", "これは猫です") == 2 * 3 / 10


def test_the_medoid_of_texts_has_most_in_common() -> None:
    # 1 shares two words of three with each of 0 and 2, which share one
    assert text_medoid(["a b x", "a b c", "b c y"]) == 1
    assert text_medoid(["a", "b", "b"]) == 1
    assert text_medoid(["alone"]) == 0
    assert text_medoid(["", ""]) == 0


def test_of_answers_as_close_the_first_is_taken() -> None:
    assert text_medoid(["a", "b"]) == 0
    assert medoid(["x", "y"], lambda one, other: 0.5) == 0


def test_a_kind_may_say_what_is_close() -> None:
    close = {frozenset("ab"): 0.9, frozenset("bc"): 0.8, frozenset("ac"): 0.1}
    assert medoid(["a", "b", "c"], lambda one, other: close[frozenset((one, other))]) == 1
    # a: 2 + .9 + .1, b: 1 + 2 x .9 + .8
    assert medoid(["a", "a", "b", "c"], lambda one, other: close[frozenset((one, other))]) == 2


def test_nothing_has_no_medoid() -> None:
    with pytest.raises(ValueError, match="no texts"):
        text_medoid([])
    with pytest.raises(ValueError, match="no answers"):
        medoid([], text_closeness)


words = st.lists(st.sampled_from(["a", "dog", "ran", "far", "犬", "9"]), max_size=5).map(" ".join)


@given(st.lists(words, min_size=1, max_size=8))
def test_both_ways_find_a_text_as_close(texts: list[str]) -> None:
    def total(at: int) -> float:
        return sum(text_closeness(texts[at], other) for other in texts)

    best = max(map(total, range(len(texts))))
    assert total(text_medoid(texts)) == pytest.approx(best, abs=1e-3)
    assert total(medoid(texts, text_closeness)) == pytest.approx(best)
