import pytest

from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.reading.statements import marked


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("a reply", "a reply"),
        ("<think>hm</think>a reply", "a reply"),
        ("hm</think>a reply", "a reply"),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<THINK>a</THINK> b < c", " b < c"),
        ("<thinking>a</thinking>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "b"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b",
            "b",
        ),
        ("<|channel|>analysis<|message|>never ends", None),
        ("analysisWe add 5 and 7.assistantfinal12", "12"),
        ("analysisWe add 5 and 7.", None),
        ("analysis of it", "analysis of it"),
        ("[THINK]never ends", None),
        ("[think] of it", "[think] of it"),
        ("<think>never ends", None),
        ("<think>a</think>b<think>never ends", None),
    ],
)
def test_what_stands_before_its_end_is_cut_off(text: str, reply: str | None) -> None:
    assert without_reasoning(text) == reply


def test_reasoning_never_answers() -> None:
    assert not marked(r"<think>\boxed{3}</think>It is so.").found
    assert marked(r"<think>\boxed{3}").answer is None and marked(r"<think>\boxed{3}").found
    assert marked("<think>The answer is 3.</think>The answer is 4.").answer == "4"
