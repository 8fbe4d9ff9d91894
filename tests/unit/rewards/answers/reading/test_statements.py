import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.answers.equality.forms import form_of
from rewards.answers.kind import answers_of
from rewards.answers.math_answers import MathAnswers, math_answer
from rewards.answers.reading.loops import loops
from rewards.answers.reading.sentences import MOST_CHARS as MAX_ANSWER_CHARS
from rewards.answers.reading.statements import marked
from rewards.rollouts import Rollout


def extract_answer(text: str) -> str | None:
    return math_answer(text, last_number=True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\{ {1} }", r"\{ {1}"),
        (r"\boxed{[0, \infty)} and {more}", r"[0, \infty)"),
        (r"\boxed{a_{b_{c}}}", "a_{b_{c}}"),
        (r"\boxed {7}", "7"),
        ("\\boxed\n{7}", "7"),
        (r"\boxed 7 is it", "7"),
        (r"\boxed\pi", r"\pi"),
        (r"\boxed x", "x"),
        (r"\fbox{9}", "9"),
        (r"\boxed{5} and the answer is 6", "6"),
        (r"the answer is 6, that is \boxed{5}", "5"),
        ("The answer is 12. Yes.", "12"),
        ("the Answer is: x + 1\nmore", "x + 1"),
        ("answer was 3.5.", "3.5"),
        ("Final answer: **17**", "17"),
        ("**Answer**: 8", "8"),
        ("The answer equals 4", "4"),
        ("answer = 5", "5"),
        ("The answer is 3. No, the answer is 4.", "4"),
        ("work\n#### 1,234", "1,234"),
        ("The answer is (C).", "(C)"),
        ("answer: __5__", "5"),
        ("answer: XX 5", "XX 5"),
        ("it could be 3 or 4\n\n(B)", "B"),
        ("I choose\n**D**", "D"),
        ("maybe\nE.", "E"),
        ("A\n2 or\nC\n\n", "C"),
        ("the answer is 4. First. Second.", "4"),
        ("first 3, then 1,234 and 5.5", "5.5"),
        ("it is -7", "-7"),
        ("it is \u22127", "\u22127"),
        ("about 1/3 of it", "1/3"),
        ("about 1 / 3 of it", "1 / 3"),
        ("roughly .5", ".5"),
        ("so +4", "+4"),
        ("Arabic \u0664\u0662", "\u0664\u0662"),
    ],
)
def test_extracts_the_final_answer(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("A: Paris", "Paris"),
        ("**A:** Paris", "Paris"),
        ("Q: 5+7?\nA: 12", "12"),
        ("Q: One?\nA: 1\n\nQ: Two?\nA: 2", "2"),
        ("A: Paris\nB: Rome\n\nAnswer: Rome", "Rome"),
    ],
)
def test_a_reply_after_a_colon(text: str, answer: str) -> None:
    assert marked(text).answer == answer


def test_a_list_of_options_is_no_reply() -> None:
    assert not marked("A: Paris\nB: Rome").found


@pytest.mark.parametrize(
    "text",
    [
        "#### 1. Add\n5 + 7 = 12\n\n#### 2. Result\nThe total is 12.",
        "#### 1. Rome\nIt was large.\n\n#### 2. Greece",
        "#### 3) Sparta\nIt was small.",
        "#### 300 Spartans fought there.\nThey lost.",
    ],
)
def test_a_heading_is_no_answer(text: str) -> None:
    assert not marked(text).found


@pytest.mark.parametrize("text", ["#### 12", "#### 12 apples", "#### 12\n\nIt is so.", "#### 12."])
def test_hashes_mark_what_follows(text: str) -> None:
    assert (marked(text).answer or "").startswith("12")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>The answer is 12</answer>", "12"),
        ("<answer>Answer: B</answer> as the answer is C in the text", "B"),
        ("<b>Answer:</b> 12", "12"),
        ("The answer is <b>12</b>.", "12"),
        ("The answer is 12<br>", "12"),
        ("(The answer is 12)", "12"),
        ("[Answer: 12]", "12"),
        ('"The answer is 12"', "12"),
        ("\u201cThe answer is 12\u201d", "12"),
        ("The answer is [0, 5).", "[0, 5)"),
        ("The answer is f(x).", "f(x)"),
        ("The answer is 5' 10\".", "5' 10\""),
    ],
)
def test_what_encloses_a_mark_is_no_part_of_the_answer(text: str, answer: str) -> None:
    assert marked(text).answer == answer


@pytest.mark.parametrize(
    "text",
    [
        "```python\ndef f():\n    answer = 0\n    return answer\n```",
        "```\nanswer = 0\nfor x in y:\n    answer += x\n```",
        '```json\n{"why": "so the answer is 42."}\n```\nThat is it.',
        "print('The answer is', x)",
        'console.log("The answer is 5");',
        '```python\nprint("\\\\boxed{5}")\n```',
    ],
)
def test_marks_in_programs_are_none(text: str) -> None:
    assert not marked(text).found


def test_what_a_program_is_followed_by_counts() -> None:
    assert marked("```python\nanswer = 5\n```\nThe answer is 6.").answer == "6"
    assert marked("Answer:\n```python\nx = 5\n```").answer == "x = 5"


@pytest.mark.parametrize(
    "text",
    ["", "no number here",
     "about 1,2345 of", "it is x-2", r"\boxed{", r"\boxed{3", r"\boxed{}", r"\boxed{ }", r"\boxed",
     "\\boxed{"
     + "9" * (MAX_ANSWER_CHARS + 1) + "}", r"\boxed{$ $}", "the answer is", "answer: .", r"\boxed)",
     "the answer is " + "9" * (MAX_ANSWER_CHARS + 1), r"\boxed{" + "{" * 5_000 + "1" + "}" * 5_001],
)  # fmt: skip
def test_nothing_usable_is_no_answer(text: str) -> None:
    assert extract_answer(text) is None


def test_the_longest_answer_is_still_one() -> None:
    longest = "x" * MAX_ANSWER_CHARS
    assert extract_answer(rf"\boxed{{{longest}}}") == longest
    nested = "{" * 499 + "12" + "}" * 499
    assert extract_answer(rf"\boxed{{{nested}}}") == nested
    assert extract_answer(rf"\boxed{{{nested}3}}") is None
    assert extract_answer("the answer is " + longest) == longest
    assert extract_answer("the answer is " + longest + "x") is None


def test_an_unclosed_box_does_not_fall_back_to_an_earlier_number() -> None:
    assert extract_answer(r"17 + 4 = \boxed{2") is None
    assert extract_answer(r"\boxed{17} no, \boxed{2") is None


def test_a_word_that_begins_like_box_is_none() -> None:
    assert extract_answer(r"\boxedness{4} is 5") == "5"


def test_numbers_are_looked_for_in_the_last_twenty_thousand_characters() -> None:
    assert extract_answer("It is 7" + " " * 19_999) == "7"
    assert extract_answer("It is 7" + " " * 20_000) is None
    assert extract_answer(r"\boxed{7}" + " " * 30_000) == "7"


@given(st.text(max_size=300))
def test_any_text_is_handled_and_never_yields_an_empty_answer(text: str) -> None:
    answer = extract_answer(text)
    assert answer is None or form_of(answer).text


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    ["{" * 50_000, r"\boxed{" * 20_000, "9" * 100_000, "$" * 100_000, "1," * 50_000, "1 " * 50_000,
     "answer is " * 10_000, "answer" + " " * 100_000, r"\boxed{" + "1" * 100_000 + "}",
     "*" * 100_000, "answer is <a>" + "<a>" * 6_000, "the answer is therefore" + " " * 20_000,
     "```\n" + "\n" * 50_000 + "```", "```\n" * 30_000, "A: " * 30_000, "A:\n" * 30_000,
     "the answer to the " * 5_000, "answer: " + ")" * 1_000, "print('answer is " * 4_000,
     "if the answer is simple: " * 4_000, "Q:\n" * 20_000 + "A: x"],
)  # fmt: skip
def test_hostile_lengths_end_quickly(text: str) -> None:
    extract_answer(text)
    form_of(text[:1_000])
    loops(text)


LOOP = "so we try again and add one, " * 40
PROSE = " ".join(
    f"step {i}: {i * 37 % 101} + {i * 53 % 97} = {i * 37 % 101 + i * 53 % 97};" for i in range(200)
)


def test_loops() -> None:
    assert loops(LOOP)
    assert loops(PROSE + LOOP)
    assert loops(LOOP + PROSE)
    assert loops(
        "The same long sentence, of about two hundred characters, comes again and again until "
        "the token budget is gone, which a short window alone could not tell from a table. " * 30
    )
    assert not loops(PROSE)
    assert loops(LOOP[:1_024])
    assert not loops(LOOP[:1_023])
    assert loops(PROSE[:1_536] + LOOP[:1_024])
    assert loops("\ud800" * 2_000)
    assert not loops("")


def test_who_may_vote() -> None:
    rollouts = [Rollout(r"\boxed{1}", [1], [-0.1], end) for end in ("length", "stop", "abort")]
    looping = Rollout(LOOP + r"\boxed{1}", [1], [-0.1], "stop")
    assert answers_of(MathAnswers(), [*rollouts, looping]) == [None, "1", None, None]


def _loops_by_compressing_every_stretch(text: str) -> bool:
    for window in (1_024, 4_096):
        for start in range(0, len(text) - window + 1, window // 2):
            stretch = text[start : start + window].encode(errors="replace")
            if len(stretch) > 8.0 * len(zlib.compress(stretch, 1)):
                return True
    return False


@given(
    st.lists(
        st.one_of(
            st.tuples(st.text(min_size=1, max_size=40), st.integers(1, 120)),
            st.tuples(st.text(alphabet="abcdefghij \n0123456789\\{}", max_size=900), st.just(1)),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=300, deadline=None)
def test_nothing_that_loops_is_overlooked(parts: list[tuple[str, int]]) -> None:
    text = "".join(piece * times for piece, times in parts)
    assert loops(text) is _loops_by_compressing_every_stretch(text)
