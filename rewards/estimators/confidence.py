"""Rewards from the model's confidence in its own tokens."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Gt, Le

from rewards.estimators.estimate import Estimate, of_label, of_rewards
from rewards.estimators.evidence import Evidence, needing
from rewards.token_signals import QWEN_VOCABULARY
from rewards.votes import take_vote


@dataclass(frozen=True, slots=True)
class ConfidenceMajority:
    """DeepConf: votes weighted by confidence, cast by the most confident (arXiv 2508.15260).

    The best `keep` of the rollouts with an answer vote, each with its mean top-k confidence as
    weight; ties in confidence favour the earlier rollout. Every rollout, voter or not, gets 1 for
    the winning answer and else 0. Needs no trainer pass.
    """

    keep: Annotated[float, Gt(0), Le(1)] = 0.9

    needs = needing("confidences")

    def estimate(self, evidence: Evidence) -> Estimate:
        tally = evidence.tally
        confidences = evidence.numbers("confidences")
        answering = [row for rows in tally.members for row in rows]
        rows = sorted(answering, key=lambda row: (-confidences[row], row))
        voters = rows[: math.ceil(self.keep * len(rows))]
        weights = [0.0] * len(tally.members)
        for row in voters:
            weights[tally.clusters[row] or 0] += confidences[row]
        if not voters:
            return of_label(tally, None, None)
        winner = weights.index(max(weights))
        return of_label(tally, tally.labels[winner], winner)


@dataclass(frozen=True, slots=True)
class SelfCertainty:
    """INTUITOR: the model's certainty itself is the reward (arXiv 2505.19590).

    `form` "kl": mean over tokens of KL(uniform || p), nats. "affine": its twin without the constant
    ln |V|, the mean negative log-probability of all tokens; advantages that subtract the mean are
    the same. A missing answer gets 0, the least of "kl". Wordiness raises certainty: watch lengths.
    """

    form: Literal["kl", "affine"] = "kl"
    vocab_size: Annotated[int, Gt(1)] = QWEN_VOCABULARY

    needs = needing("self_certainties")

    def estimate(self, evidence: Evidence) -> Estimate:
        certainties = evidence.numbers("self_certainties")
        shift = math.log(self.vocab_size) if self.form == "affine" else 0.0
        return of_rewards(evidence.tally, [value + shift for value in certainties])


@dataclass(frozen=True, slots=True)
class Rlpr:
    """RLPR: how probable the reference answer is after this rollout's reasoning (arXiv 2506.18254).

    The reward is the mean probability of the reference's tokens. Live traffic has no reference: the
    majority answer, which is the label, takes its place.
    """

    needs = needing("reference_probabilities")

    def estimate(self, evidence: Evidence) -> Estimate:
        tally = evidence.tally
        estimate = of_rewards(tally, evidence.numbers("reference_probabilities"))
        return replace(estimate, label=take_vote(tally).answer)
