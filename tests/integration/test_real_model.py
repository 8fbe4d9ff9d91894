"""The loop on a real language model: SmolLM2-135M, its own chat template, 49k tokens, prose."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from adapter.store.judgement import Cause
from adapter.store.releases import AdapterRelease, ReleaseState
from deploy.references import ROOT
from evals.smollm2.questions import stream_and_held_out
from tests.asking import asking
from tests.live import LiveStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900), pytest.mark.lane("real model")]

QUESTIONS, _ = stream_and_held_out(0, 200, 3)


class RealStack(LiveStack):
    """A stack on the real model, with what its releases say."""

    def release(self, version: int) -> AdapterRelease | None:
        with Redis.from_url(self.redis_url) as redis:
            text = redis.hget("{ratchet}:releases", str(version))
        return None if text is None else AdapterRelease.from_json(text)  # type: ignore[arg-type]

    def tried(self) -> int | None:
        """The candidate that is being tried."""
        with Redis.from_url(self.redis_url) as redis:
            versions = redis.hkeys("{ratchet}:tried")
        return int(versions[0]) if versions else None  # type: ignore[index]

    def decided(self, version: int) -> bool:
        release = self.release(version)
        return release is not None and release.state is not ReleaseState.CANDIDATE


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[RealStack]:
    """Made once in this checkout: ten seconds and 538 MB."""
    models = ROOT / ".ratchet" / "models"
    stack = RealStack(
        tmp_path_factory.mktemp("real"), model="smollm2", models_dir=models, learning_rate=1e-4,
        rollouts=8, train_rollouts=8,
    )  # fmt: skip
    stack.start()
    yield stack
    stack.stop()


def test_it_learns_while_clients_fill_the_engine(real: RealStack) -> None:
    """A verdict comes though there is never a moment without a client, and nobody is refused."""
    with asking(real.root, QUESTIONS, clients=4) as asked:
        wait_until(lambda: real.decided(1), 400)
    first = real.release(1)
    assert first is not None
    assert [step.step.value for step in first.steps][:4] == ["lineage", "files", "parity", "trial"]
    assert first.numbers["parity/applied"] == pytest.approx(1.0, abs=0.5)
    assert asked.failures == []


def test_a_candidate_that_ends_the_engine_twice_is_turned_away(
    real: RealStack, tmp_path: Path
) -> None:
    with asking(real.root, QUESTIONS, clients=1, pause=0.2) as asked:
        for _ in range(2):
            wait_until(real.tried, 300)
            version = real.tried()
            assert version is not None
            real.kill("engine")
            wait_until(lambda: not real.ready(), 60)
            wait_until(real.ready, 200)
        wait_until(lambda: real.decided(version), 300)
        answered = len(asked.seconds)
        wait_until(lambda: len(asked.seconds) > answered + 3, 120)
    release = real.release(version)
    assert release is not None and release.steps[-1].cause is Cause.ENGINE_ENDED
    assert release.state is ReleaseState.REJECTED
