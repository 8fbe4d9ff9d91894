"""`ratchet score` as a researcher uses it: lines in, lines out, errors that name line and field."""

import json
import subprocess
import sys

import pytest

from evals.recorded_groups import BadInput
from evals.scores import Scorer
from rewards.answers.math_answers import MathAnswers
from rewards.estimators.registry import ESTIMATORS, build


def score(*groups: object, reward: str = "majority", options=None, **given) -> list[dict]:
    lines = [g if isinstance(g, bytes) else json.dumps(g).encode() for g in groups]
    scorer = Scorer(build(reward, options), MathAnswers(), **given)
    return [json.loads(line) for line in scorer.score(lines)]


def answers(text: str, **each) -> list[dict]:
    return [{"answer": a, **each} for a in text]


RICH = {
    "id": "q",
    "label": "1",
    "rollouts": [
        {"answer": a, "entropy": h, "token_ids": [1, int(a)], "logprobs": [-0.1, -0.2],
         "top_logprobs": [[-0.1, -3.0], [-h, -4.0]], "reference_logprobs": [-h],
         "text": f"first {h}, so {a}"}
        for a, h in (("1", 0.2), ("2", 0.9), ("1", 0.4))
    ],
    "paraphrase": [{"answer": "2"}, {"text": r"\boxed{2}"}, {"answer": "1"}],
    "reflection": "2",
}  # fmt: skip


def test_the_reference_group() -> None:
    entropies = [0.4] * 4 + [0.2] * 3 + [0.8]
    rollouts = [{"answer": a, "entropy": h} for a, h in zip("AAAABBBC", entropies, strict=True)]
    (line,) = score(
        {"id": 7, "rollouts": rollouts},
        reward="dare",
        options={"eps": "0", "alpha": "0.1", "tau": "0.1"},
    )
    assert line["id"] == 7
    assert line["answers"] == list("AAAABBBC")
    assert line["label"] == "B"
    assert line["rewards"] == pytest.approx([0.425714] * 4 + [0.645714] * 3 + [0], abs=1e-6)
    assert line["advantages"] == pytest.approx(
        [-0.137063] * 4 + [0.892578] * 3 + [-2.129484], abs=1e-5
    )
    assert line["stats"]["majority_ratio"] == 0.5


def test_text_is_read_like_a_rollout() -> None:
    (line,) = score(
        {
            "id": "t",
            "rollouts": [
                {"text": r"so \boxed{1/2}"},
                {"text": "the answer is 0.5."},
                {"text": r"\boxed{3}", "finish_reason": "length"},
                {"text": "again and again " * 200 + r"\boxed{3}"},
                {"answer": None},
                {"answer": "  "},
                {"answer": "7" * 100_000},
            ],
        }
    )
    assert line["answers"] == ["1/2", "0.5", None, None, None, None, None]
    assert line["rewards"] == [1, 1, 0, 0, 0, 0, 0]


def test_answers_and_labels_may_be_numbers() -> None:
    (line,) = score({"id": 1, "label": 4, "rollouts": [{"answer": 4}, {"answer": 4.0}]})
    assert line["answers"] == ["4", "4.0"]
    assert line["stats"]["avg"] == 1.0


def test_what_a_label_allows_to_say() -> None:
    (line,) = score({**RICH, "label": "2"})
    quality = {k: v for k, v in line["stats"].items() if k not in ("majority_ratio", "answered")}
    assert quality == pytest.approx(
        {"distinct": 2, "rollout_correlation": (1 / 3 + 1 + 1 / 3) / 3, "avg": 1 / 3, "maj": 0,
         "label_accuracy": 0, "reward_accuracy": 0, "reward_correlation": -1}
    )  # fmt: skip
    bare = score({"id": 1, "rollouts": answers("112")})[0]["stats"]
    assert not {"avg", "maj", "label_accuracy", "rollout_correlation"} & set(bare)


@pytest.mark.parametrize("reward", ESTIMATORS)
def test_every_estimator_scores_a_full_record(reward: str) -> None:
    (line,) = score(RICH, reward=reward)
    assert len(line["rewards"]) == len(line["advantages"]) == 3


def test_the_texts_of_rollouts_are_compared() -> None:
    texts = [r"add \boxed{1}", r"<think>hm</think>add \boxed{1}", r"sub \boxed{1}", r"n \boxed{2}"]
    (line,) = score({"id": 1, "rollouts": [{"text": t} for t in texts]}, reward="evol_rl")
    assert line["rewards"] == [0.5, 0.5, 1.0, -0.5]
    ended = [
        {"answer": "1", "text": "a"},
        {"answer": None},
        {"text": "b", "finish_reason": "length"},
    ]
    (line,) = score({"id": 1, "rollouts": ended}, reward="evol_rl")
    assert line["rewards"] == [1.0, -1.0, -1.0]


def test_groups_with_one_id_are_looks_at_one_question() -> None:
    rounds = ["112", "112", "221", "221", "222", "222", "222"]
    groups = [{"id": 1, "rollouts": answers(each)} for each in rounds]
    other = {"id": "1", "rollouts": answers("333")}
    stats = [line["stats"] for line in score(*groups[:3], other, *groups[3:], reward="ttrl_guard")]
    assert [each["flip_rate"] for each in stats] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert stats[2]["scale"] == pytest.approx(0.5 * 0.7)  # 2/3 of them are sure of it
    assert {each["skipped"] for each in stats[:5]} == {0}
    # locked from the fifth look on
    always = score(*groups, reward="ttrl_guard", options={"skip": "1"})
    assert [line["stats"]["skipped"] for line in always] == [0, 0, 0, 0, 1, 1, 1]
    assert always[-1]["advantages"] == [None] * 3


def test_a_reflection_is_an_answer_or_null() -> None:
    group = {"id": 1, "rollouts": answers("1122")}
    (line,) = score({**group, "reflection": 2.0}, reward="sr_ttrl")
    assert (line["label"], line["rewards"]) == ("2.0", [0, 0, 1, 1])
    (line,) = score({**group, "reflection": None}, reward="sr_ttrl")
    assert (line["label"], line["rewards"]) == (None, [0] * 4)


def test_random_rewards_are_the_same_for_the_same_line_and_seed() -> None:
    group = {"id": 1, "rollouts": answers("1" * 64)}
    first, again, other = (
        score(group, reward="random", options={"seed": seed})[0]["rewards"] for seed in "001"
    )
    assert first == again != other
    assert score({**group, "id": 2}, reward="random")[0]["rewards"] != first


def test_topk_entropies_come_from_the_top_logprobs() -> None:
    (line,) = score(RICH, reward="dare", options={"entropy": "topk", "tau": "0"}, vocab_size=100)
    assert line["rewards"][0] > line["rewards"][1] > 0


def test_whitening_is_per_batch() -> None:
    groups = [{"id": i, "rollouts": answers("112")} for i in range(3)]
    alone = score(*groups, advantage="reinforce_pp", batch=1)
    together = score(*groups, advantage="reinforce_pp", batch=8)
    assert [line["id"] for line in together] == [0, 1, 2]
    assert alone[0]["advantages"] != together[0]["advantages"]


def test_floor_clip_and_left_out_rollouts() -> None:
    (line,) = score({"id": 1, "rollouts": answers("112")}, std_floor=10.0)
    assert max(map(abs, line["advantages"])) < 0.1
    (line,) = score({"id": 1, "rollouts": answers("112")}, clip=0.5)
    assert line["advantages"] == [0.5, 0.5, -0.5]
    (line,) = score(
        {"id": 1, "rollouts": answers("1111112", entropy=0.3)},
        reward="dare",
        options={"pruned": "drop", "tau": "0.3"},
    )
    assert line["advantages"][6] is None


def test_empty_lines_and_groups() -> None:
    assert score(b"", b"  \n", {"id": 1, "rollouts": []})[0]["rewards"] == []
    for reward in ESTIMATORS:
        if reward not in ("co_reward", "ground_truth", "sr_ttrl"):
            (line,) = score({"id": 1, "rollouts": [{"answer": None}]}, reward=reward)
            assert line["label"] is None
            assert line["rewards"][0] <= 0


@pytest.mark.parametrize(
    ("line", "reward", "why"),
    [
        (b"{", "majority", "line 2: not valid JSON"),
        (b"[" * 100_000, "majority", "line 2: not valid JSON"),
        (b"\xff\xfe", "majority", "line 2: not valid JSON"),
        (rb'{"id": 1, "rollouts": [{"answer": "\ud800"}]}', "majority", "line 2: not valid JSON"),
        ({"id": 1, "rollouts": answers("1"), "label": float("nan")}, "majority", "label: must"),
        (b"3", "majority", 'line 2: must be an object with "id"'),
        ({"rollouts": []}, "majority", "line 2: id: is missing"),
        ({"id": 1}, "majority", "line 2: rollouts: must be a list"),
        ({"id": 1, "rollouts": ["x"]}, "majority", r"line 2: rollouts\[0\]: must be an object"),
        ({"id": 1, "rollouts": [{}]}, "majority",
         r'rollouts\[0\]: needs "text", "tool_calls" or "answer"'),
        ({"id": 1, "rollouts": [{"answer": [5]}]}, "majority", "answer: must be text"),
        ({"id": 1, "rollouts": answers("1"), "label": True}, "majority", "label: must be text"),
        ({"id": 1, "rollouts": answers("12")}, "dare", r"rollouts\[0\].entropy: .* not null"),
        ({"id": 1, "rollouts": answers("1", entropy=float("nan"))}, "dare", "entropy: .* not NaN"),
        ({"id": 1, "rollouts": answers("1", entropy=float("inf"))}, "dare", "not Infinity"),
        ({"id": 1, "rollouts": answers("1", entropy=True)}, "dare", "entropy: .* not true"),
        ({"id": 1, "rollouts": answers("1", entropy="0.1")}, "dare", "entropy: .* finite number"),
        ({"id": 1, "rollouts": answers("1")}, "confidence_majority", "top_logprobs: must be"),
        ({"id": 1, "rollouts": answers("1", top_logprobs=[[]])}, "self_certainty",
         r"top_logprobs\[0\]: must be a list of numbers"),
        ({"id": 1, "rollouts": answers("1", top_logprobs=[[2.0]])}, "self_certainty", "at most 0"),
        ({"id": 1, "rollouts": answers("1", top_logprobs=[["a"]])}, "confidence_majority",
         r"top_logprobs\[0\]\[0\]: must be a finite number"),
        ({"id": 1, "rollouts": answers("1")}, "rlpr", "reference_logprobs: must be a list"),
        ({"id": 1, "rollouts": answers("1")}, "co_reward", "line 2: paraphrase is needed"),
        ({"id": 1, "rollouts": answers("1")}, "ground_truth", "line 2: truth is needed"),
        ({"id": 1, "rollouts": answers("1")}, "sr_ttrl", "line 2: reflection is needed"),
        ({"id": 1, "rollouts": answers("1"), "reflection": []}, "sr_ttrl", "reflection: must be"),
        ({"id": 1, "rollouts": answers("1")}, "evol_rl", r"rollouts\[0\].text: is missing"),
        ({"id": 1, "rollouts": answers("1"), "paraphrase": [{}]}, "co_reward",
         r"paraphrase\[0\]: needs"),
        ({"id": 1, "rollouts": answers("1", token_ids=["a"])}, "majority", "token_ids: must be"),
    ],
)  # fmt: skip
def test_errors_name_line_and_field(line, reward, why) -> None:
    with pytest.raises(BadInput, match=why):
        score(b"\n", line, reward=reward)


def command(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ratchet", "score", *arguments],
        input=given, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_reads_files_and_standard_input(tmp_path) -> None:
    line = json.dumps({"id": "q", "rollouts": answers("112", entropy=0.3)})
    file = tmp_path / "groups.jsonl"
    file.write_text(line + "\n")
    done = command(str(file), "--reward", "dare", "--set", "alpha=0.2", "--set", "tau=0")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["label"] == "1"
    assert command("-", given=line).stdout == command(str(file)).stdout


def test_latex_goes_to_the_judge() -> None:
    group = {"id": 1, "rollouts": [{"answer": r"\frac{\sqrt{3}}{3}"}, {"answer": r"1/\sqrt{3}"}]}
    done = command("-", given=json.dumps(group))
    assert json.loads(done.stdout)["rewards"] == [1, 1]


def test_auto_votes_on_words_and_not_on_digits_in_prose() -> None:
    letter = "Dear Ms Doe,\nyour parcel leaves on 3 March 2025.\nYours, the shop"
    texts = ["Positive.", "positive", letter, "3 stars, I would say: it is really Negative 3"]
    group = {"id": 1, "rollouts": [{"text": text} for text in texts]}
    done = json.loads(command("-", given=json.dumps(group)).stdout)
    assert done["answers"] == ["Positive.", "positive", None, None]
    assert done["rewards"] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("kind", "rollouts", "answers"),
    [
        ('{"kind": "choice", "options": ["yes", "no"]}', [{"text": "Yes, it is."}], ["yes"]),
        ('{"kind": "math", "last_number": true}', [{"text": "She has 7 left"}], ["7"]),
        ("math", [{"text": "She has 7 left"}], [None]),
        (
            "tool_calls",
            [{"tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]}],
            ['[{"arguments":{"a":1},"name":"f"}]'],
        ),
    ],
)
def test_the_kind_is_chosen(kind: str, rollouts, answers) -> None:
    group = json.dumps({"id": 1, "rollouts": rollouts})
    assert json.loads(command("-", "--answer", kind, given=group).stdout)["answers"] == answers


@pytest.mark.parametrize(
    ("arguments", "given", "why"),
    [
        (["-", "--answer", "words"], "", "--answer: kind: must be one of auto"),
        (["-", "--answer", "{"], "", "--answer: not valid JSON"),
        (["-", "--answer", "pattern"], "", "--answer: pattern: is missing"),
        (["-"], '{"id": 1, "rollouts": [{"tool_calls": [7]}]}', "rollouts[0].tool_calls[0]: needs"),
        (["no/such/file"], "", "no/such/file: No such file"),
        (["-", "--reward", "dare", "--set", "aplha=1"], "", "--set: dare has no option 'aplha'"),
        (["-"], "{", "-: line 1: not valid JSON"),
        (["-", "--reward", "ttrl"], "", "invalid choice: 'ttrl'"),
    ],
)
def test_what_is_wrong_exits_with_2(arguments, given, why) -> None:
    done = command(*arguments, given=given)
    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr
