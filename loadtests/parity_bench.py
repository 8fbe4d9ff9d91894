"""Does parity tell a real update from none and from another? `make bench-parity`.

On SmolLM2-135M, with an engine that samples for others meanwhile. Each trial learns one step from
rollouts that the engine drew, and another from the same with their rewards turned round. The engine
is asked three times to prove the first one's probe sheet: with its adapter, with one that does
nothing, and with the other.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from adapter.learner.scoring import Scoring
from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import WEIGHTS
from adapter.store.probe_sheet import ProbeSheet
from adapter.tasks import end, together
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from evals.items import Item
from evals.smollm2.questions import stream_and_held_out
from loadtests.engine_process import engine, until_up
from ratchet.local.models import SMOLLM2
from ratchet.recipe import with_recipe
from ratchet.settings import StackSettings
from rewards.advantages import grpo
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.registry import build
from rewards.rollouts import RolloutGroup, Sampling
from server.engine.base import EngineRequest, draw_all
from server.engine.vllm import VllmEngine
from server.promotion.parity import Parity, probe_parity

_GROUPS, _ROLLOUTS, _TOKENS = 4, 8, 24


@dataclass(frozen=True, slots=True)
class Found:
    """What parity said of one trial's adapters, and whether that was right."""

    case: str
    parity: Parity
    right: bool


class ParityBench:
    """Trainer and engine on one model. Adapters go to `folder`."""

    def __init__(self, vllm: VllmEngine, settings: StackSettings, folder: Path) -> None:
        self._vllm, self._folder = vllm, folder
        self._temperature = settings.rollout_temperature
        self._tolerance = settings.parity_tolerance
        own = {name: getattr(settings, name) for name in AdapterSettings.model_fields}
        self._trainer = LoraTrainer(AdapterSettings(**own))
        self._scoring = Scoring(
            estimator=build("majority", {}), advantage=grpo, kinds=AnswerKinds(), std_floor=0.05
        )
        self._made = 0

    async def trial(self, items: Sequence[Item]) -> list[Found]:
        """One step on these questions, and its three cases."""
        batch = await self._batch(items)
        turned = [
            replace(tg, advantages=[None if a is None else -a for a in tg.advantages])
            for tg in batch
        ]
        real, other = await asyncio.to_thread(self._learnt, batch, turned)
        nothing = self._fresh("nothing")
        shutil.copytree(real, nothing)
        shutil.copy(self._fresh_weights, nothing / WEIGHTS)
        sheet, found = ProbeSheet.read(real), list[Found]()
        for case, adapter in (("real", real), ("nothing", nothing), ("another", other)):
            await self._vllm.load(adapter.name, str(adapter))
            parity = await probe_parity(self._vllm, adapter.name, "base", sheet)
            await self._vllm.unload(adapter.name)
            passed = parity.verdict(self._tolerance).passed
            found.append(Found(case, parity, passed == (case == "real")))
        return found

    async def _batch(self, items: Sequence[Item]) -> list[TrainingGroup]:
        groups = await together(self._group(item) for item in items)
        scored = [self._scoring.score(group, self._trainer) for group in groups]
        return self._scoring.advantages([one for one in scored if one.estimate.informative])

    async def _group(self, item: Item) -> RolloutGroup:
        options = {"n": _ROLLOUTS, "temperature": self._temperature, "max_tokens": _TOKENS}
        prompt = [{"role": "user", "content": item.prompt}]
        draws = await draw_all(self._vllm, EngineRequest("base", prompt, options))
        rollouts = [draw.rollout for draw in draws]
        sampling = Sampling(self._temperature, 1.0, 0, _TOKENS)
        return RolloutGroup(item.id, "", draws[0].prompt_ids, rollouts, 0, sampling, "", 0.0)

    def _learnt(
        self, batch: Sequence[TrainingGroup], turned: Sequence[TrainingGroup]
    ) -> tuple[Path, Path]:
        folders: list[Path] = []
        for learnt in (batch, turned):
            self._trainer.load(None)
            folder = self._fresh("adapter")
            folder.mkdir()
            if not self._made > 1:
                self._trainer.save(folder)
                shutil.copy(folder / WEIGHTS, self._fresh_weights)
            self._trainer.update(learnt)
            self._trainer.save(folder)
            folders.append(folder)
        return folders[0], folders[1]

    def _fresh(self, name: str) -> Path:
        self._made += 1
        return self._folder / f"{name}{self._made}"

    @property
    def _fresh_weights(self) -> Path:
        return self._folder / WEIGHTS


async def crowd(vllm: VllmEngine) -> None:
    """Others who sample, until cancelled."""
    prompt = [{"role": "user", "content": "Tell me about the sea."}]
    options = {"n": 8, "temperature": 1.0, "max_tokens": 64}
    while True:
        await draw_all(vllm, EngineRequest("base", prompt, options))


async def run(settings: StackSettings, trials: int, folder: Path) -> list[Found]:
    """All trials, under load."""
    async with AsyncExitStack() as ending:
        url = ending.enter_context(engine(folder, settings))
        vllm = VllmEngine(url, settings.engine_model, 600.0)
        ending.push_async_callback(vllm.close)
        bench = await asyncio.to_thread(ParityBench, vllm, settings, folder)
        await until_up(vllm)
        asked, _ = stream_and_held_out(settings.seed, trials * _GROUPS, 3)
        others = asyncio.create_task(crowd(vllm))
        ending.push_async_callback(end, [others])
        found: list[Found] = []
        for start in range(0, len(asked), _GROUPS):
            found += await bench.trial(asked[start : start + _GROUPS])
            for one in found[-3:]:
                print(
                    f"| {start // _GROUPS + 1} | {one.case} | {one.parity.floor:.4f} "
                    f"| {one.parity.to_trainer:.4f} | {one.parity.change:.4f} "
                    f"| {one.parity.applied:+.2f} ± {one.parity.error:.2f} "
                    f"| {'right' if one.right else 'WRONG'} |",
                    flush=True,
                )
        return found


def main() -> None:
    """Measures and prints a table; the exit status says whether all was right."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.parity_bench", description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--dtype", default="auto", help="of the engine: auto, float32, bfloat16")
    chosen = parser.parse_args()
    settings = with_recipe(StackSettings(model=SMOLLM2, dtype=chosen.dtype))
    print("| trial | adapter | floor | to trainer | change | applied | verdict |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(settings, chosen.trials, Path(folder)))
    right = sum(one.right for one in found)
    print(f"\n{right} of {len(found)} right")
    raise SystemExit(right < len(found))


if __name__ == "__main__":
    main()
