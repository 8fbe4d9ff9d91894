"""The seam of promotion: a candidate goes through a tuple of steps, and each gives a verdict."""

import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Protocol

from adapter.store.adapter_folders import ReleaseCorrupt
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease
from server.engine.base import Engine, EngineError, EngineRefused


class PromotionStep(Protocol):
    """One step. The first that does not pass a candidate decides."""

    async def judge(self, release: AdapterRelease) -> StepVerdict | None:
        """The verdict; None if the candidate was decided elsewhere meanwhile. Raises EngineError
        or BufferUnavailable: then the candidate is judged again later."""
        ...


async def verdicts(
    steps: Sequence[PromotionStep], release: AdapterRelease
) -> list[StepVerdict] | None:
    """The verdicts up to the one that decides, each with its seconds; None if the candidate was
    decided elsewhere. Raises as the steps do."""
    found: list[StepVerdict] = []
    ended = release.created_at
    for step in steps:
        verdict = await step.judge(release)
        if verdict is None:
            return None
        started, ended = ended, time.time()
        found.append(replace(verdict, seconds=max(0.0, ended - started)))
        if not verdict.passed:
            break
    return found


async def verdict_or_unusable(
    engine: Engine, step: Step, work: Awaitable[StepVerdict]
) -> StepVerdict:
    """The verdict of `work`, or `unusable` if the candidate makes it fail. Raises EngineError if
    the engine does not answer a probe either, which is no fault of the candidate."""
    try:
        return await work
    except (ReleaseCorrupt, EngineRefused, OSError, ValueError, TypeError) as error:
        fault = error
    except EngineError as error:
        await engine.probe()
        fault = error
    return turned_away(step, Cause.UNUSABLE, f"unusable: {fault}")
