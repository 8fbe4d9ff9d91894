"""What an adapter costs the engine on CPU: `make bench-adapter`.

64 rollouts of 24 tokens of SmolLM2-135M, for base, for one adapter and for base and two adapters in
one batch; rounds alternate, figures are medians. The engine is started as `ratchet up` starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from adapter.settings import AdapterSettings
from adapter.trainer import TrainingGroup
from loadtests.engine_process import engine, until_up
from ratchet.local.models import SMOLLM2
from ratchet.recipe import with_recipe
from ratchet.settings import StackSettings
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from server.engine.base import BASE_MODEL, EngineRequest, draw_all
from server.engine.vllm import VllmEngine

_ROLLOUTS, _TOKENS = 64, 24
_PROMPT = [{"role": "user", "content": "Tell me about the sea."}]


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.adapter_bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--threads", type=int, default=0, help="of the engine; 0 as it is started")
    chosen = parser.parse_args()
    given = {"dtype": chosen.dtype, "engine_threads": chosen.threads}
    settings = with_recipe(StackSettings(model=SMOLLM2, **given))
    asyncio.run(_measure(settings, chosen.rounds))


async def _measure(settings: StackSettings, rounds: int) -> None:
    async with AsyncExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        for number in (1, 2):
            _train(settings, folder / f"v{number}", number)
        url = ending.enter_context(engine(folder, settings))
        vllm = VllmEngine(url, settings.engine_model, 600.0)
        ending.push_async_callback(vllm.close)
        await until_up(vllm)
        for number in (1, 2):
            await vllm.load(f"v{number}", str(folder / f"v{number}"))
        base = BASE_MODEL
        mixes = {"base": [base], "one adapter": ["v1"], "base and two adapters": [base, "v1", "v2"]}
        seconds: dict[str, list[float]] = {name: [] for name in mixes}
        for turn in range(rounds + 1):
            for name, models in mixes.items():
                started = time.perf_counter()
                await asyncio.gather(*(_draw(vllm, model, len(models)) for model in models))
                if turn:  # the first round warms up
                    seconds[name].append(time.perf_counter() - started)
        middle = {name: statistics.median(values) for name, values in seconds.items()}
        print(f"| {_ROLLOUTS} rollouts of {_TOKENS} tokens | seconds | to base |\n|---|---|---|")
        for name, value in middle.items():
            print(f"| {name} | {value:.2f} | {value / middle['base']:.2f} |")


async def _draw(vllm: VllmEngine, model: str, shares: int) -> None:
    options = {
        "n": -(-_ROLLOUTS // shares), "temperature": 1.0, "max_tokens": _TOKENS,
        "min_tokens": _TOKENS, "ignore_eos": True,
    }  # fmt: skip
    await draw_all(vllm, EngineRequest(model, _PROMPT, options))


def _train(settings: StackSettings, folder: Path, seed: int) -> None:
    """An adapter after one step on tokens of no meaning."""
    from adapter.training.lora_trainer import LoraTrainer

    made = AdapterSettings(
        model=settings.model, seed=seed, device="cpu",
        sequence_mask=1e9, importance_mask=1e9,  # no engine has sampled these
    )  # fmt: skip
    trainer = LoraTrainer(made)
    rollouts = [Rollout("", [5 + seed, 9, 11], [-3.0] * 3, "stop") for _ in range(2)]
    group = RolloutGroup("g", "", [1, 2, 3], rollouts, 0, Sampling(), "", 0.0)
    trainer.update([TrainingGroup(group, [1.0, -1.0])])
    folder.mkdir()
    trainer.save(folder)


if __name__ == "__main__":
    main()
