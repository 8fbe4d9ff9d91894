# ruff: noqa: RUF001
import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.answers.reading.letters import chosen_letter, stated_letter
from rewards.rollouts import FINISHED, Rollout

CHOICE = AnswerKinds().of(AnswerChoice("choice"))


def read(text: str) -> str | None:
    return CHOICE.read(Rollout(text, (), (), FINISHED))


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B)",
        "[B]",
        "**B**",
        "`B`",
        "Option B",
        "option (b)",
        "B) Paris",
        "B. Paris",
        "B: Paris",
        "(B) Paris",
        "The answer is B.",
        "The answer is (B) Paris.",
        "The answer is b) Paris",
        "Answer: B",
        "Answer: b)",
        "**Answer: B**",
        r"\boxed{B}",
        r"\boxed{\text{B}}",
        r"\boxed{\textbf{(B)}\ 42}",
        "<answer>B</answer>",
        "The correct option is B.",
        "I would choose B because A is wrong.",
        "It must be option B.",
        "My choice: B",
        "Paris is the capital of France.\n\nB",
        "B\n\nParis is the capital of France.",
        "The capital is Paris, so (B) it is.",
        "The answer is B. Paris",
        "答案是B。",
        "答案：B",
        "A is wrong, C is wrong. **B**",
        "Let me see.\n\nAnswer:\n\n(B)",
        "#### B",
        "<think>A? C!</think>B",
        "A: B",
        "Q: Which one?\nA: B",
        "A: I think it's B",
        "B: No",
        "The answer is B!",
        "Option B: not at all",
        "(B) No.",
        "B) It is not.",
        "B. No, it is wrong",
        "Option B: No",
        "**B) Not before noon**\n\nIt rains.",
        "Let us see.\nA) is wrong\nC) is right?\n\nTherefore, the correct answer is B) No.",
        r"x = \boxed{12}, so the answer is B.",
        "Answer: 12\n\nThe correct option is (B).",
        "It's B.",
        "B is correct.",
        "I would go with B.",
        "选B",
        "The answer is clearly B.",
        "**Answer: B**\n\nThe other answers are wrong.",
    ],
)
def test_a_letter_in_any_usual_spelling(text: str) -> None:
    assert read(text) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "A dog ran.",
        "I think so",
        "A) yes\nB) no",
        "(A) or (B)",
        "option A or option B",
        "K",
        "AB",
        "B2",
        "Answer: A and C",
        "Answer: A dog",
        "The answer is a dog.",
        "<think>B",
        r"\boxed{",
        "The answer is unknown.",
        "Option A is incorrect.",
        "(A) is wrong.",
        "Choice A is tempting but wrong.",
        "We can eliminate option C.",
        "I would not choose A.",
        "All except (A).",
        "The correct answer is not (A).",
        "choose a number",
        "I pick a card",
        "The answer is J. K. Rowling",
        "The answer is F = ma.",
        r"\boxed{B D}",
        r"\boxed{B; D}",
        "Answer: B plus C",
        "A: I am not sure.",
        "Die Antwort ist nicht A.",
    ],
)
def test_no_letter_or_several_are_no_answer(text: str) -> None:
    assert read(text) is None


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text", ["option" + " " * 50_000, "Option B " * 8_000, "**B** " * 9_000, "A) is " * 10_000]
)
def test_hostile_lengths_end_quickly(text: str) -> None:
    chosen_letter(text)
    stated_letter(text)
