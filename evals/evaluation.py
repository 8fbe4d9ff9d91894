"""The papers' evaluation on any OpenAI-compatible endpoint: n rollouts a question, graded here.

Labels stay here: only prompts are sent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI
from tqdm import tqdm

from evals.failures import ungrouped
from evals.items import Item
from rewards.answers.kind import AnswerKind
from rewards.metrics import avg_at_n, correctness, maj_at_n, pass_at_k
from rewards.rollouts import ENDED, FINISHED, Rollout

OWNER = "ratchet"
_NO_SUCH_ROUTE = (404, 405, 501)
_ENDED = ENDED | {
    "eos_token", "eos", "stop_sequence", "stop_token", "end_turn", "complete", "completed",
}  # fmt: skip
_CUT_SHORT = frozenset(
    {"length", "max_tokens", "model_length", "content_filter", "abort", "error", "cancelled"}
)
"""What endpoints call the end of a rollout."""
_SINGLE: Mapping[str, Any] = {"ratchet": {"strategy": "single", "train": False}}


class EndpointFailed(RuntimeError):
    """The endpoint refuses, or cannot be reached; the message says what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How to sample. The papers': 16 rollouts at T 0.6, top-p 0.95, 3,072 new tokens."""

    n: int = 16
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 3072
    concurrency: int = 32
    per_request: int = 0
    """Rollouts a request asks for (`n`); 0 is all. Some endpoints return only one at a time."""
    seconds: float = 600.0
    """Longest wait for one reply."""

    def sampling(self) -> dict[str, Any]:
        """What a result depends on: runs that differ in it are different evaluations."""
        return {name: asdict(self)[name] for name in ("n", "temperature", "top_p", "max_tokens")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One question: the answer of each of n rollouts (None: none), and whether it is right."""

    id: str
    level: str
    answers: Sequence[str | None]
    correct: Sequence[bool]
    maj: float
    tokens: float
    """Completion tokens, mean over the rollouts; nan if the endpoint does not report them."""

    @property
    def avg(self) -> float:
        """avg@n, which is pass@1."""
        return avg_at_n(self.correct)

    def passed(self, k: int) -> float:
        """pass@k, unbiased."""
        return pass_at_k(self.correct, k)


class Evaluator:
    """Samples and grades with one client; grading may be slow, so it runs in a thread."""

    def __init__(
        self, client: AsyncOpenAI, model: str, protocol: Protocol, kind: AnswerKind
    ) -> None:
        self._client = client.with_options(timeout=protocol.seconds)
        self._model, self._protocol, self._kind = model, protocol, kind
        self._extra: Mapping[str, Any] = {}

    async def run(
        self,
        items: Sequence[Item],
        keep: Callable[[Graded], object],
        done: Collection[str] = (),
    ) -> None:
        """Grade every item whose id is not in `done`, and call `keep` with each. Raises
        EndpointFailed at the first failure."""
        await self._detect_ratchet()
        waiting = iter([item for item in items if item.id not in done])

        async def work() -> None:
            for item in waiting:
                keep(await self.grade(item))

        with ungrouped(EndpointFailed):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._protocol.concurrency):
                    tasks.create_task(work())

    async def grade_all(self, items: Sequence[Item], quiet: bool = False) -> list[Graded]:
        """All items graded, in their order, with a progress bar on a terminal. Raises
        EndpointFailed."""
        graded: dict[str, Graded] = {}
        hidden = quiet or not sys.stderr.isatty()
        with tqdm(total=len(items), unit="question", leave=False, disable=hidden) as bar:

            def keep(one: Graded) -> None:
                graded[one.id] = one
                bar.update(1)

            await self.run(items, keep)
        return [graded[item.id] for item in items]

    async def grade(self, item: Item) -> Graded:
        """One question. Raises EndpointFailed."""
        wanted = self._protocol.per_request or self._protocol.n
        counts = [min(wanted, self._protocol.n - at) for at in range(0, self._protocol.n, wanted)]
        replies = await asyncio.gather(*(self._ask(item, count) for count in counts))
        answers = [answer for found, _ in replies for answer in found]
        tokens = sum(count for _, count in replies) / len(answers)
        return await asyncio.to_thread(self._score, item, answers, tokens)

    def _score(self, item: Item, answers: Sequence[str | None], tokens: float) -> Graded:
        tally = self._kind.tally(answers)
        correct = correctness(self._kind, tally, item.answer)
        return Graded(
            id=item.id,
            level=item.level,
            answers=answers,
            correct=correct,
            maj=maj_at_n(tally, correct),
            tokens=tokens,
        )

    async def _detect_ratchet(self) -> None:
        """Ask a Ratchet server for plain rollouts: no vote, nothing recorded."""
        async with _endpoint_errors(self._model):
            try:
                models = await self._client.models.list()
            except APIStatusError as error:
                if error.status_code not in _NO_SUCH_ROUTE:
                    raise
                return  # no list of models: somebody else's server
        listed: Any = getattr(models, "data", None) or ()
        if any(getattr(model, "owned_by", None) == OWNER for model in listed):
            self._extra = _SINGLE

    async def _ask(self, item: Item, count: int) -> tuple[list[str | None], float]:
        async with _endpoint_errors(self._model):
            completion = await self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": "user", "content": item.prompt}],
                n=count,
                temperature=self._protocol.temperature,
                top_p=self._protocol.top_p,
                max_tokens=self._protocol.max_tokens,
                extra_body=self._extra,
            )
        if len(completion.choices) != count:
            raise EndpointFailed(
                f"the endpoint gave {len(completion.choices)} choices where n={count} were asked "
                "for: set --per-request 1"
            )
        usage = completion.usage
        return (
            [
                self._kind.read(_rollout(choice.message.content, choice.finish_reason))
                for choice in completion.choices
            ],
            float(usage.completion_tokens) if usage else float("nan"),
        )


def _rollout(text: str | None, finish_reason: str | None) -> Rollout:
    """A rollout by what an endpoint says of its end. Raises EndpointFailed for what says neither
    that it ended by itself nor that it was cut short."""
    said = (finish_reason or "").lower()
    if said in _ENDED:
        return Rollout(text or "", (), (), FINISHED)
    if said not in _CUT_SHORT:
        raise EndpointFailed(
            f"the endpoint ends a rollout with finish_reason {finish_reason!r}, which says neither "
            f"that it is whole ({', '.join(sorted(_ENDED))}) nor that it is cut short "
            f"({', '.join(sorted(_CUT_SHORT))})"
        )
    return Rollout(text or "", (), (), said)


@asynccontextmanager
async def _endpoint_errors(model: str) -> AsyncGenerator[None, None]:
    try:
        yield
    except APIStatusError as error:
        if error.status_code == 404:
            raise EndpointFailed(f"no model {model!r} at the endpoint: set --model") from None
        if error.status_code in (401, 403):
            raise EndpointFailed("the endpoint wants a key: set OPENAI_API_KEY") from None
        raise EndpointFailed(f"the endpoint says {error.status_code}: {error.message}") from None
    except APIConnectionError as error:
        raise EndpointFailed(f"the endpoint does not answer: {error.__cause__ or error}") from None
    except APIError as error:
        raise EndpointFailed(f"the endpoint's reply is of no use: {error.message}") from None
