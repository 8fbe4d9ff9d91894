# ruff: noqa: RUF001
import pytest

from rewards.answers.reading.sentences import MOST_CHARS, sentence_at


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("12. Yes.", "12"),
        ("3.5 of it. So", "3.5 of it"),
        ("6.02e23. It", "6.02e23"),
        ("10:45. We", "10:45"),
        ("10:45 a.m. on Monday. We", "10:45 a.m. on Monday"),
        ("2024-01-15. We", "2024-01-15"),
        ("3 1/2. We", "3 1/2"),
        ("192.168.0.1. We", "192.168.0.1"),
        ("example.org. We", "example.org"),
        ("J. K. Rowling. She", "J. K. Rowling"),
        ("George W. Bush. He", "George W. Bush"),
        ("J. Smith.", "J. Smith"),
        ("E. coli. It", "E. coli"),
        ("No. 7. It", "No. 7"),
        ("No. It is", "No"),
        ("Dr. Watson. He", "Dr. Watson"),
        ("Mt. Everest. It", "Mt. Everest"),
        ("vitamin C. It helps", "vitamin C"),
        ("C. The integral is what we computed", "C"),
        ("C because I computed the integral. Yes", "C"),
        ("C, since it is large", "C"),
        ("42, which is even", "42"),
        ("42，因为它很大。", "42"),
        ("$3.5. x$ is it. So", "$3.5. x$ is it"),
        ("`a. b` is it. So", "`a. b` is it"),
        ("Paris! It", "Paris!"),
        ("5!", "5!"),
        ("十二。然后", "十二"),
        ("one\ntwo", "one"),
        ("no end", "no end"),
        ("", ""),
    ],
)
def test_where_a_sentence_ends(text: str, sentence: str) -> None:
    assert sentence_at(text, 0) == sentence


def test_it_begins_where_it_is_told_and_is_bounded() -> None:
    assert sentence_at("So it is 4. No.", 9) == "4"
    assert len(sentence_at("x" * 5_000, 0)) == MOST_CHARS + 2
