"""A learner that diverges ends with a clear line, and `ratchet up` leaves it at that."""

import asyncio
import sys
from pathlib import Path

import pytest

from adapter.store.redis.buffer import RedisBuffer
from ratchet.local.child import GAVE_UP, Child
from ratchet.local.programs import ratchet_command
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.architectures import build_nan

pytestmark = pytest.mark.integration


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_nan(tmp_path / "model")


def unlearnable(name: str) -> RolloutGroup:
    rollouts = [Rollout(rf"\boxed{{{a}}}", [5, 3], [-2.5, -3.0], "stop") for a in "112"]
    return RolloutGroup(name, name, [1, 2], rollouts, 0, Sampling(), "c", 0.0)


def diverging(url: str, model: Path, folder: Path) -> dict[str, object]:
    """Entropies would be NaN too, and the groups dead letters before any update is made of them:
    so the reward wants none."""
    return {"model": model, "redis_url": url, "adapters_dir": folder / "adapters",
            "groups_per_update": 1, "lora_rank": 1, "threads": 1, "reward": "majority"}  # fmt: skip


def environment(settings: dict[str, object]) -> dict[str, str]:
    return {f"RATCHET_{name.upper()}": str(value) for name, value in settings.items()}


async def test_a_diverged_learner_is_not_started_again(
    own_server, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    buffer = RedisBuffer(own_server.url)
    for name in "abcd":
        await buffer.append(unlearnable(name))
    settings = diverging(own_server.url, model, tmp_path)
    learner = Child("adapter", ratchet_command("adapt"), environment(settings), tmp_path / "log")
    await learner.start()
    async with asyncio.timeout(60):
        while "gave up" not in caplog.text:
            await asyncio.sleep(0.05)
    assert (learner.exit_code, learner.restarts) == (GAVE_UP, 0)
    assert "stopped: 3 updates in a row: loss nan" in caplog.text
    state = await buffer.state()
    assert (state.totals["dropped:diverged"], state.waiting) == (3, 1)
    await learner.stop()
    await buffer.close()


async def test_where_every_end_is_a_start_it_waits_for_an_operator(
    own_server, model: Path, tmp_path: Path
) -> None:
    """As Docker and Kubernetes would start it for ever."""
    buffer = RedisBuffer(own_server.url)
    for name in "abc":
        await buffer.append(unlearnable(name))
    settings = {**diverging(own_server.url, model, tmp_path), "hold_after_giving_up": "true"}
    learner = Child("adapter", ratchet_command("adapt"), environment(settings), tmp_path / "log")
    await learner.start()
    async with asyncio.timeout(60):
        while "gave up: waits for SIGTERM" not in learner.log_tail(1):
            await asyncio.sleep(0.05)
    assert (learner.exit_code, learner.restarts) == (None, 0)
    await learner.stop()
    assert learner.exit_code == GAVE_UP
    await buffer.close()


async def test_any_other_end_is_followed_by_a_start(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = (
        f"import pathlib; p = pathlib.Path({str(mark)!r}); p.open('a').write('x'); raise OSError"
    )
    child = Child("part", [sys.executable, "-c", script], {}, tmp_path / "part.log")
    await child.start()
    async with asyncio.timeout(30):
        while not mark.exists() or len(mark.read_text()) < 2:
            await asyncio.sleep(0.05)
    assert child.restarts >= 1
    await child.stop()
