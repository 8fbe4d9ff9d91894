"""The loop on a real language model: SmolLM2-135M, its own chat template, 49k tokens, prose."""

from collections.abc import Iterator
from statistics import median

import httpx
import pytest
from redis import Redis

from adapter.store.judgement import Cause, Step
from adapter.store.redis.connection import RELEASES, TRIED
from adapter.store.releases import AdapterRelease, ReleaseState
from deploy.references import ROOT
from evals.smollm2.questions import stream_and_held_out
from ratchet.recipe import NUMBERS
from tests.asking import asking
from tests.live import LiveStack
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.needs("libnuma"),
    pytest.mark.alone,
]

QUESTIONS = [item.prompt for item in stream_and_held_out(0, 200, 3)[0]]
SMALL = {
    "learning_rate": 2e-4, "vote_confidence": 0.99,
    "rollouts": 8, "train_rollouts": 8, "learn_rollouts": 4,
    "groups_per_update": 2, "updates_per_candidate": 1,
    "gate_prompts": 4, "gate_rollouts": 2, "gate_queries": 96, "gate_guard_items": 8,
    "gate_guard_tokens": 16, "answer": NUMBERS,
}  # fmt: skip
"""Little of everything, so that a candidate and its verdict take seconds; the gate's bounds are
those of every stack. As `auto` reads this model's prose, hardly three of eight ever agree."""


class RealStack(LiveStack):
    """A stack on the real model, with what its releases say."""

    def release(self, version: int) -> AdapterRelease | None:
        with Redis.from_url(self.redis_url) as redis:
            text = redis.hget(RELEASES, str(version))
        return None if text is None else AdapterRelease.from_json(text)  # type: ignore[arg-type]

    @property
    def newest(self) -> int:
        """The last version that was published; 0 is base."""
        with Redis.from_url(self.redis_url) as redis:
            return max(map(int, redis.hkeys(RELEASES)), default=0)  # type: ignore[arg-type]

    def tried(self) -> int | None:
        """The candidate that is being tried."""
        with Redis.from_url(self.redis_url) as redis:
            versions = redis.hkeys(TRIED)
        return int(versions[0]) if versions else None  # type: ignore[index]

    def loaded(self, version: int) -> bool:
        """Whether the engine has it, as it has only what is being tried or served."""
        release = self.release(version)
        try:
            reply = httpx.get(f"http://127.0.0.1:{self.engine_port}/v1/models", timeout=5)
        except httpx.HTTPError:
            return False
        names = [model["id"] for model in reply.json()["data"]]
        return release is not None and release.folder in names

    def decided(self, version: int) -> bool:
        release = self.release(version)
        return release is not None and release.state is not ReleaseState.CANDIDATE


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[RealStack]:
    """The model is made once in this checkout: ten seconds and 538 MB."""
    models = ROOT / ".ratchet" / "models"
    stack = RealStack(tmp_path_factory.mktemp("real"), model="smollm2", models_dir=models, **SMALL)
    stack.start()
    yield stack
    stack.stop()


def test_clients_hardly_wait_longer_while_it_learns(real: RealStack) -> None:
    """The longest wait is bounded by what was seen, not by the target of 1.5 times (missed):
    docs/performance.md. `make bench-learning` has the quantiles."""
    few = {"max_tokens": 24, "pause": 0.2}
    with asking(real.root, QUESTIONS, clients=1, ratchet={"train": False}, **few) as quiet:
        wait_until(lambda: len(quiet.seconds) >= 20, 200)
    with asking(real.root, QUESTIONS, clients=1, **few) as learning:
        wait_until(lambda: len(learning.seconds) >= 20 and real.decided(1), 400)
    assert quiet.failures == learning.failures == []
    assert median(learning.seconds) <= 1.5 * median(quiet.seconds)
    assert max(learning.seconds) <= 3 * max(quiet.seconds)


def test_a_verdict_comes_though_there_is_never_a_moment_without_a_client(real: RealStack) -> None:
    newest = real.newest
    with asking(real.root, QUESTIONS, clients=3, max_tokens=24) as asked:
        wait_until(lambda: real.decided(newest + 1), 400)
    release = real.release(newest + 1)
    assert release is not None
    assert [step.step for step in release.steps][:4] == [
        Step.LINEAGE, Step.FILES, Step.PARITY, Step.TRIAL
    ]  # fmt: skip
    assert len(asked.seconds) >= 4
    assert asked.failures == []


def test_a_candidate_that_ends_the_engine_twice_is_turned_away(real: RealStack) -> None:
    with asking(real.root, QUESTIONS, clients=1, pause=0.2, max_tokens=24) as asked:
        wait_until(real.tried, 300)
        version = real.tried()
        assert version is not None
        for _ in range(2):
            wait_until(lambda: real.loaded(version), 300)
            real.kill("engine")
            wait_until(lambda: not real.ready(), 60)
            wait_until(real.ready, 200)
        wait_until(lambda: real.decided(version), 300)
        answered = len(asked.seconds)
        wait_until(lambda: len(asked.seconds) > answered + 3, 120)
    release = real.release(version)
    assert release is not None
    assert release.steps[-1].cause is Cause.ENGINE_ENDED
    assert release.state is ReleaseState.REJECTED
