"""The step that asks whether a candidate can still do what base can, where no trial looks.

It comes after the trial, so that only who would pass costs anything. Harm turns nobody away unless
a setting says so: what the trial sees, it has judged. But single requests and prose, which it never
sees, then go to base (`Policy.add`).
"""

from dataclasses import dataclass

from adapter.store.judgement import Step, StepVerdict
from adapter.store.releases import AdapterRelease
from adapter.tasks import together
from server.promotion.gate_draws import GateDraws
from server.promotion.guards.base_replies import BaseReplies, BaseReply
from server.promotion.guards.harm import FEWEST, GuardRecord, HarmRules

_SCORED = 12
"""Replies of base to tasks whose likelihood is asked for, beside its prose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRules:
    """Tasks of one trial, whether harm turns a candidate away, and what harm is."""

    items: int
    rejects: bool
    harm: HarmRules


@dataclass(frozen=True, slots=True)
class Guards:
    """Puts a candidate to a slice of the suite that base does, and scores base's replies."""

    draws: GateDraws
    replies: BaseReplies
    rules: GuardRules

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        spent, record = self.draws.tokens, GuardRecord()
        chosen = await self.replies.done(self.rules.items)
        if len(chosen) >= FEWEST:
            await self._try(release.folder, chosen, record)
        numbers = {
            **record.numbers(),
            "asked": float(self.replies.asked),
            "tokens": float(self.draws.tokens - spent),
        }
        harm = record.harm(self.rules.harm)
        if harm is None:
            return StepVerdict(Step.GUARDS, passed=True, numbers=numbers)
        rejects = self.rules.rejects
        return StepVerdict(
            Step.GUARDS,
            passed=not rejects,
            reason=harm.reason if rejects else f"{harm.reason}; what no trial sees goes to base",
            cause=harm.cause,
            numbers=numbers,
            reference="base",
            slice=f"guard:{harm.area}" if harm.area else "",
            lost=harm.lost,
        )

    async def _try(self, candidate: str, chosen: list[BaseReply], record: GuardRecord) -> None:
        """Have the candidate do the tasks that base does, and score base's replies under it: one
        after another, as scoring many at once holds up clients."""
        done = await together(self.replies.does(candidate, one.item) for one in chosen)
        for one, right in zip(chosen, done, strict=True):
            record.did(one.item.area, one.item.id, right)
        for one in [*chosen[:_SCORED], *await self.replies.prose()]:
            ours = await self.replies.scores_under(candidate, one)
            record.scored(ours, await self.replies.scores(one))
