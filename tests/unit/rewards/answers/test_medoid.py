"""The rollout closest to the others, by numbers worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers.medoid import closeness_to_others, text_closeness, text_medoid


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


def test_closeness_to_the_others_leaves_itself_out() -> None:
    assert closeness_to_others(["a b", "a b", "a c"]) == pytest.approx([0.75, 0.75, 0.5])
    assert closeness_to_others(["alone"]) == [0.0]


def test_nothing_has_no_medoid() -> None:
    with pytest.raises(ValueError, match="no texts"):
        text_medoid([])


words = st.lists(st.sampled_from(["a", "dog", "ran", "far", "犬", "9"]), max_size=5).map(" ".join)


@given(st.lists(words, min_size=2, max_size=8))
def test_it_is_the_mean_over_all_others(texts: list[str]) -> None:
    means = [
        sum(text_closeness(text, other) for j, other in enumerate(texts) if j != i)
        / (len(texts) - 1)
        for i, text in enumerate(texts)
    ]
    assert closeness_to_others(texts) == pytest.approx(means, abs=1e-5)
    assert means[text_medoid(texts)] == pytest.approx(max(means), abs=1e-5)
