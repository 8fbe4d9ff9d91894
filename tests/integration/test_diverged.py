"""A learner that diverges ends with a clear line, and `ratchet up` leaves it at that; or holds."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.store.redis.buffer import RedisBuffer
from ratchet.local.child import GAVE_UP, Child
from ratchet.local.programs import ratchet_command
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.ports import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny model that makes every loss NaN."""
    config = Qwen2Config(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=16,
    )  # fmt: skip
    made = Qwen2ForCausalLM(config)
    with torch.no_grad():
        made.get_output_embeddings().weight[0, 0] = torch.nan
    made.save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


@asynccontextmanager
async def diverging(
    url: str, model: Path, folder: Path, **settings: object
) -> AsyncIterator[tuple[Child, RedisBuffer]]:
    """A learner that is about to diverge, supervised as by `ratchet up`."""
    buffer = RedisBuffer(url)
    for name in "abcd":
        rollouts = [Rollout(rf"\boxed{{{a}}}", [5, 3], [-2.5, -3.0], "stop") for a in "112"]
        await buffer.append(RolloutGroup(name, name, [1, 2], rollouts, 0, Sampling(), "c", 0.0))
    # Entropies would be NaN too, and the groups dead letters before any update is made of them.
    given = {"model": model, "redis_url": url, "adapters_dir": folder / "adapters",
             "groups_per_update": 1, "lora_rank": 1, "threads": 1, "reward": "majority",
             **settings}  # fmt: skip
    environment = {f"RATCHET_{name.upper()}": str(value) for name, value in given.items()}
    learner = Child("adapter", ratchet_command("adapt"), environment, folder / "adapter.log")
    await learner.start()
    yield learner, buffer
    await learner.stop()
    await buffer.close()


async def test_a_diverged_learner_is_not_started_again(
    own_server, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with diverging(own_server.url, model, tmp_path) as (learner, buffer):
        async with asyncio.timeout(60):
            while "gave up" not in caplog.text:
                await asyncio.sleep(0.05)
        assert (learner.exit_code, learner.restarts) == (GAVE_UP, 0)
        assert "stopped: 3 updates in a row: loss nan" in caplog.text
        state = await buffer.state()
        assert (state.totals["dropped:diverged"], state.waiting) == (3, 1)


async def test_where_every_end_is_followed_by_a_start_it_stays(
    own_server, model: Path, tmp_path: Path
) -> None:
    """As on Kubernetes: live for its probes, with what is left of the groups untouched."""
    port = free_port()
    settings = {"hold_after_giving_up": "true", "adapter_metrics_port": port, "lease_seconds": 1}
    async with diverging(own_server.url, model, tmp_path, **settings) as (learner, buffer):
        async with asyncio.timeout(60):
            while "gave up: waits for SIGTERM" not in learner.log_tail():
                await asyncio.sleep(0.05)
        shown = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "ratchet_learner_leading 0.0" in shown
        assert "ratchet_updates_diverged_total 3.0" in shown
        state = await buffer.state()
        assert (state.totals["dropped:diverged"], state.waiting) == (3, 1)
        await learner.stop()
        assert (learner.exit_code, learner.restarts) == (0, 0)


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
