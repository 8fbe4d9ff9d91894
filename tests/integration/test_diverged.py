"""A learner that diverges ends with a clear line, and `ratchet up` leaves it at that."""

import asyncio
import sys
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.store.redis.buffer import RedisBuffer
from ratchet.local.child import GAVE_UP, Child
from ratchet.local.programs import ratchet_command
from rewards.rollouts import Rollout, RolloutGroup, Sampling

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


async def test_a_diverged_learner_is_not_started_again(
    own_server, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    buffer = RedisBuffer(own_server.url)
    for name in "abcd":
        rollouts = [Rollout(rf"\boxed{{{a}}}", [5, 3], [-2.5, -3.0], "stop") for a in "112"]
        await buffer.append(RolloutGroup(name, name, [1, 2], rollouts, 0, Sampling(), "c", 0.0))
    # Entropies would be NaN too, and the groups dead letters before any update is made of them.
    settings = {"model": model, "redis_url": own_server.url, "adapters_dir": tmp_path / "adapters",
                "groups_per_update": 1, "lora_rank": 1, "threads": 1,
                "reward": "majority"}  # fmt: skip
    environment = {f"RATCHET_{name.upper()}": str(value) for name, value in settings.items()}
    learner = Child("adapter", ratchet_command("adapt"), environment, tmp_path / "adapter.log")
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
