"""Candidates that are what the ledger says and wrong all the same, before a real engine.

Each is turned away with a reason, and the engine answers on as before.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file

from adapter.store.adapter_folders import CONFIG, WEIGHTS, AdapterFolders
from adapter.store.memory_buffer import MemoryBuffer
from adapter.store.memory_releases import MemoryReleases
from adapter.store.releases import AdapterRelease, ReleaseState
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from ratchet.recipe import NUMBERS
from ratchet.settings import StackSettings
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from server.http.app import create_app
from server.parts import Parts
from tests.engines import EngineProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.lane("engine", 3)]

Damage = Callable[[Path], object]


@pytest.fixture
def settings(shared_engine: EngineProcess, tmp_path_factory) -> StackSettings:
    return StackSettings(
        engine_url=shared_engine.url, engine_timeout=20, threads=1,
        learning_rate=1e-3, gate_prompts=2, gate_holdout=0, gate_rollouts=2,
        gate_queries=16, rollouts=8,
        gate_margin=0.45, answer=NUMBERS,
        adapters_dir=tmp_path_factory.mktemp("adapters"), redis_url="memory://",
    )  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """A folder as the trainer writes it after one update."""
    masks = {"sequence_mask": 1e9, "importance_mask": 1e9}  # no engine has sampled these
    trainer = LoraTrainer(StackSettings(threads=1, learning_rate=1e-3, dtype="float32", **masks))
    prompt = list(range(1, 9))
    rollouts = [Rollout("", [9 + row, 20, 21], [-3.0] * 3, "stop") for row in range(4)]
    group = RolloutGroup("g", "p", prompt, rollouts, 0, Sampling(), "c", 0.0)
    trainer.update([TrainingGroup(group, [1.0, -1.0, 1.0, -1.0])])
    folder = tmp_path_factory.mktemp("honest")
    trainer.save(folder)
    return folder


@pytest.fixture
async def parts(settings: StackSettings) -> AsyncIterator[Parts]:
    """A server on that engine, which has been asked enough to judge candidates."""
    parts = Parts(settings, buffer=MemoryBuffer(), releases=MemoryReleases())
    transport = httpx.ASGITransport(create_app(parts))  # type: ignore[arg-type]
    async with parts.running(), httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        for question in ("What is 1+2?", "What is 3+4?"):
            reply = await http.post(
                "/v1/chat/completions",
                json={"model": "ratchet", "messages": [{"role": "user", "content": question}]},
            )
            assert reply.status_code == 200, reply.text
        yield parts


async def judged(parts: Parts, honest: Path, damage: Damage) -> AdapterRelease:
    """Publish a copy of the honest candidate, damaged before it is hashed; wait for the verdict."""

    def write(folder: Path) -> None:
        for file in honest.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        damage(folder)

    folders, releases = AdapterFolders(parts.settings.adapters_dir), parts.releases
    version = await releases.reserve()
    name, digest = folders.commit(version, write)
    token = await releases.acquire(60)
    assert token is not None
    release = AdapterRelease(version, 0, name, digest, [str(version)], {"kl": 0.0}, 0.0)
    await releases.publish(release, token)
    await releases.resign(token)
    seen = ""
    async with asyncio.timeout(30):
        while (now := await releases.get(version)).state is ReleaseState.CANDIDATE:
            seen = await releases.wait(seen, 5.0)
    return now


def weights(change: Callable[[str, torch.Tensor], torch.Tensor | None]) -> Damage:
    """Each tensor is changed, or left out."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        changed = {name: change(name, tensor) for name, tensor in tensors.items()}
        kept = {name: t.contiguous() for name, t in changed.items() if t is not None}
        save_file(kept, folder / WEIGHTS)

    return damage


def config(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        known = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**known, **changes}))

    return damage


def content(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def header(change: Callable[[dict[str, Any]], object]) -> Damage:
    """The safetensors header says something else; the data stay."""

    def damage(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        parsed = orjson.loads(data[8 : 8 + length])
        change(parsed)
        text = orjson.dumps(parsed)
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def first_down(of: Callable[[torch.Tensor], torch.Tensor | None]) -> Damage:
    """Change one of the tensors."""
    return weights(lambda name, t: of(t) if "layers.0.mlp.down_proj.lora_A" in name else t)


def each_entry(change: Callable[[dict[str, Any]], object]) -> Damage:
    return header(lambda parsed: [change(e) for n, e in parsed.items() if n != "__metadata__"])


def fourfold(name: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.repeat(4, 1) if "lora_A" in name else tensor.repeat(1, 4) / 4


WRONG: dict[str, Damage] = {
    "NaN weights": weights(lambda _, t: torch.full_like(t, torch.nan)),
    "one NaN": first_down(lambda t: t.index_put((torch.tensor(0), torch.tensor(0)),
                                                torch.tensor(torch.nan))),
    "infinite weights": weights(lambda _, t: torch.full_like(t, torch.inf)),
    "huge weights": weights(lambda _, t: t * 1e30),
    "zero weights": weights(lambda _, t: torch.zeros_like(t)),
    "another rank than the config says": config(r=8),
    "a rank above the config's": config(r=64),
    "a rank above the engine's": lambda folder: (config(r=64)(folder), weights(fourfold)(folder)),
    "widths of another model": weights(lambda n, t: t[:, :3] if "lora_A" in n else t[:3]),
    "rank 0": config(r=0),
    "a rank of text": config(r="sixteen"),
    "another alpha": config(lora_alpha=3200),
    "half the rank": weights(lambda n, t: t[:8] if "lora_A" in n else t[:, :8]),
    "one tensor of half the rank": first_down(lambda t: t[:8]),
    "one tensor with three dimensions": first_down(lambda t: t[None]),
    "a tensor is missing": first_down(lambda _: None),
    "half of all tensors are missing": weights(lambda n, t: t if "lora_A" in n else None),
    "no tensors": weights(lambda *_: None),
    "tensors of another model": weights(lambda n, t: torch.ones(3, 3)),
    "weights of integers": weights(lambda _, t: t.to(torch.int32)),
    "empty weights": content(WEIGHTS, b""),
    "not safetensors": content(WEIGHTS, b"\x80\x04K\x01."),
    "a pickle": content(WEIGHTS, b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "a header of 2^63 bytes": content(WEIGHTS, struct.pack("<Q", 1 << 63) + b"{}"),
    "a header of 90 MB": content(WEIGHTS, struct.pack("<Q", 90 << 20) + b"{}"),
    "a header of garbage": content(WEIGHTS, struct.pack("<Q", 2) + b"\xff\xff"),
    "offsets past the end": each_entry(lambda e: e.update(data_offsets=[0, 1 << 40])),
    "offsets that overlap": each_entry(lambda e: e.update(data_offsets=[0, 64])),
    "shapes past all memory": each_entry(lambda e: e.update(shape=[1 << 40, 1 << 20])),
    "a type nobody knows": each_entry(lambda e: e.update(dtype="F4096")),
    "no config": lambda folder: (folder / CONFIG).unlink(),
    "a config of garbage": content(CONFIG, b"\x00\xff"),
    "a config that is a list": content(CONFIG, b"[]"),
    "an empty config": content(CONFIG, b"{}"),
    "DoRA": config(use_dora=True),
    "no probe sheet": lambda folder: (folder / "probe.json").unlink(),
    "an empty probe sheet": content("probe.json", b'{"sequences":[],"adapter":[],"base":[]}'),
    "a probe sheet of garbage": content("probe.json", b"\x00"),
    "a probe of unknown tokens": content(
        "probe.json", b'{"sequences":[[1,99999999]],"adapter":[[-1]],"base":[[-2]]}'
    ),
    "a probe of negative tokens": content(
        "probe.json", b'{"sequences":[[1,-7]],"adapter":[[-1]],"base":[[-2]]}'
    ),
    "a probe of text": content(
        "probe.json", b'{"sequences":[["a","b"]],"adapter":[[-1]],"base":[[-2]]}'
    ),
    "a probe of nulls": content(
        "probe.json", b'{"sequences":[[1,2]],"adapter":[[null]],"base":[[null]]}'
    ),
    "a probe that is a list": content("probe.json", b"[]"),
    "a probe longer than the context": content(
        "probe.json", orjson.dumps({"sequences": [[1] * 9999], "adapter": [[-1.0] * 9998],
                                    "base": [[-2.0] * 9998]}),
    ),
    "a single token": content("probe.json", b'{"sequences":[[1]],"adapter":[[]],"base":[[]]}'),
}  # fmt: skip


async def test_wrong_candidates_are_turned_away(
    parts: Parts, shared_engine: EngineProcess, honest: Path
) -> None:
    before = await parts.engine.score("base", [1, 2, 3, 4])
    for name, damage in WRONG.items():
        release = await judged(parts, honest, damage)
        print(f"{name}: {release.reason}")
        assert release.state is ReleaseState.REJECTED, name
        assert "seconds/gate" not in release.numbers, name  # before it answered anything
        assert shared_engine.runs, name
        after = await parts.engine.score("base", [1, 2, 3, 4])
        assert after == pytest.approx(before, abs=1e-5), name
        assert await parts.engine.models() == ["base"], name


async def test_an_honest_one_still_comes_to_its_trial(parts: Parts, honest: Path) -> None:
    release = await judged(parts, honest, lambda _: None)
    assert release.numbers["parity/to_trainer"] < 1e-3
    assert "seconds/gate" in release.numbers
