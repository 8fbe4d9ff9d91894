"""Asks the model to choose among its answers: the vote strategy `reflect` (SR-TTRL)."""

import asyncio
import logging
import time
from dataclasses import dataclass, replace

from rewards.answers.reading.reasoning import said_by
from rewards.reflection import choice_in, reflection_on, representatives_of
from server.engine.base import Engine, EngineError, Prompt, draw_all
from server.vote.session import VoteSession

log = logging.getLogger("ratchet.voted")

_KEPT = frozenset({
    "max_tokens", "max_completion_tokens", "chat_template_kwargs", "temperature", "seed",
})  # fmt: skip
"""Options of the rollouts that a reflection has too: no tools, no form of the reply, no stops."""


@dataclass(frozen=True, slots=True)
class Reflecting:
    """Adds the model's choice to sessions whose rollouts are in."""

    engine: Engine

    async def choose(self, session: VoteSession, seconds: float) -> None:
        """Ask, if there is more than one answer. A model that chooses nothing, or not within
        `seconds`, and an engine that fails leave the vote to decide."""
        tally, kind = await session.tally.current(), session.tally.kind
        if kind.name == "text" or len(tally.members) < 2:
            return
        texts = [said_by(draw.rollout) for draw in session.tally.draws]
        representatives = await asyncio.to_thread(representatives_of, tally, texts)
        options = {name: value for name, value in session.options.items() if name in _KEPT}
        request = session.engine_request({**options, "n": 1, "logprobs": False}, seconds)
        asked = _asking(session.prompt, reflection_on(representatives))
        started = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                [session.reflection] = await draw_all(self.engine, replace(request, prompt=asked))
        except (TimeoutError, EngineError) as error:
            log.warning("an answer was not reflected upon: %s", str(error) or "it took too long")
            return
        finally:
            session.waited += time.perf_counter() - started
        rollout = session.reflection.rollout
        session.chosen = await asyncio.to_thread(choice_in, rollout, representatives, kind)


def _asking(prompt: Prompt, question: str) -> Prompt:
    """A prompt with one more question. It goes to the end of the last message if that is a user's:
    some templates allow no two in a row."""
    if isinstance(prompt, str):
        return f"{prompt}\n\n{question}\n\n"
    *before, last = prompt
    content = last.get("content")
    if last.get("role") != "user":
        return [*prompt, {"role": "user", "content": question}]
    if isinstance(content, str):
        return [*before, {**last, "content": f"{content}\n\n{question}"}]
    return [*before, {**last, "content": [*(content or ()), {"type": "text", "text": question}]}]
