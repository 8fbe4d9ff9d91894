"""Learning in one process: what is sampled is what the trainer sees, and each need is met."""

import pytest
import torch

from evals.arithmetic.practice import Practice
from evals.arithmetic.questions import paraphrase, question, questions
from evals.arithmetic.sampler import Decoding, Sampler, sample
from evals.experiments.course import Course
from evals.experiments.step_record import record_of
from rewards.estimators.registry import ESTIMATORS, build

ASKED = questions(0, 4)


@pytest.fixture(scope="module")
def practice() -> Practice:
    torch.set_num_threads(1)
    return Practice(decoding=Decoding(8))


def test_sampled_log_probabilities_are_the_trainers(practice: Practice) -> None:
    step = practice.step(ASKED)
    assert step.metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-4)
    assert step.metrics["importance/clipped"] == 0
    (group, *_) = [one.group for one in step.scored]
    exact = practice.trainer.signals(group, frozenset({"entropies"}))["entropies"]
    assert len(exact) == 8  # after a step the weights have moved, so only nearly the same
    for rollout, entropy in zip(group.rollouts, exact, strict=True):
        assert rollout.entropy == pytest.approx(entropy, abs=0.05)


def test_shared_tokens_are_shared(practice: Practice) -> None:
    sampler = Sampler(practice.trainer.model, practice.tokenizer, 1)
    for group in sampler.groups(ASKED, Decoding(16, shared=4)):
        assert len({tuple(rollout.token_ids[:4]) for rollout in group.rollouts}) == 1
    free = sampler.groups(ASKED, Decoding(16))
    assert any(len({tuple(r.token_ids[:4]) for r in group.rollouts}) > 1 for group in free)


def test_a_lower_temperature_makes_rollouts_alike(practice: Practice) -> None:
    sampler = Sampler(practice.trainer.model, practice.tokenizer, 1)
    hot, cold = (
        sum(r.entropy or 0 for g in sampler.groups(ASKED, Decoding(16, t)) for r in g.rollouts)
        for t in (1.0, 0.5)
    )
    assert cold < 0.6 * hot


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in ESTIMATORS if name != "sr_ttrl"]
    + [("dare", {"entropy": "topk"}), ("sr_ttrl", {"unread": "majority"})],
)
def test_every_estimator_can_be_learnt_with(name: str, options: dict[str, str]) -> None:
    step = Practice(decoding=Decoding(8), estimator=build(name, options)).step(ASKED)
    assert step.metrics["grad_norm"] > 0
    record = record_of(step, ASKED)
    assert 0 <= record["avg"] <= 1
    assert record["learnt"] == 1


def test_the_same_seed_gives_the_same_course() -> None:
    course = Course(updates=1, groups=2, rollouts=4, questions=5, n=2)
    one, two = course.run(), course.run()
    assert one["scores"] == two["scores"]
    times = {"seconds/sample", "seconds/reward", "seconds/update"}
    for first, second in zip(one["steps"], two["steps"], strict=True):
        assert {k: v for k, v in first.items() if k not in times} == {
            k: v for k, v in second.items() if k not in times
        }


def test_a_course_never_learns_from_its_test_set_where_it_must_not() -> None:
    learnt, test = Course(updates=3, questions=20, train_on="stream").sets()
    assert not {one.text for one in learnt} & {one.text for one in test}
    learnt, test = Course(updates=5, questions=20).sets()
    assert {one.text for one in learnt[:20]} == {one.text for one in test}
    assert len(learnt) == 40


def test_a_subtraction_has_no_paraphrase() -> None:
    assert paraphrase(question(12, 34, 1, "addition")).text == "What is 34+12?"
    with pytest.raises(ValueError, match="no addition"):
        paraphrase(question(34, 12, 1, "subtraction"))


def test_replies_carry_their_log_probabilities(practice: Practice) -> None:
    generator = torch.Generator().manual_seed(0)
    model, tokenizer = practice.trainer.model, practice.tokenizer
    replies = sample(model, tokenizer, ASKED, Decoding(2), generator=generator)
    for reply in replies[0]:
        assert len(reply.logprobs) == len(reply.token_ids)
        assert max(reply.logprobs) <= 0
