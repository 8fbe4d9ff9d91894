"""SR-TTRL: the model reflects over one rollout per answer, and its choice is the label."""

from dataclasses import dataclass
from typing import Literal

from rewards.estimators.estimate import Estimate, of_label
from rewards.estimators.evidence import Evidence, given, needing
from rewards.votes import take_vote


@dataclass(frozen=True, slots=True)
class SrTtrl:
    """1 for the answer that the model chose when it was shown one rollout per answer, else 0
    (Wu et al., "Beyond Majority Voting: Self-Reflective Test-Time Reinforcement Learning for LLM
    Reasoning", ICML 2026). `rewards.reflection` makes the question and reads the choice.

    Where no choice could be read there is no label (`unread` = "none"), or the majority's.

    Of the paper, no more than the abstract was at hand when this was written: groups by answer, one
    representative each, a choice by reflection as pseudo-label. It has the model summarise each
    representative first; here they are shortened, which costs no call.
    """

    unread: Literal["none", "majority"] = "none"

    needs = needing("reflection")

    def estimate(self, evidence: Evidence) -> Estimate:
        tally, chosen = evidence.tally, given(evidence.reflection, "reflection").label
        if chosen is not None:
            return of_label(tally, chosen.answer, chosen.cluster)
        vote = take_vote(tally)
        if self.unread == "majority" or len(tally.members) == 1:
            return of_label(tally, vote.answer, vote.cluster)
        return of_label(tally, None, None)
