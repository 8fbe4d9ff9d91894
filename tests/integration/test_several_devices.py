"""The learner as `accelerate launch` starts it: two gloo processes on the CPU against one."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis
import safetensors.torch
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.store.adapter_folders import WEIGHTS
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.redis.releases import RedisReleases
from adapter.store.releases import BASE, AdapterRelease, ReleaseState
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

VOCAB = 40
GROUPS = 3
UPDATES = 4
REJECTED = 2
TOLERANCE = 1e-5
ROOT = Path(__file__).parents[2]
LAUNCHES = {
    "two": ["--multi_gpu", "--num_processes", "2"],
    "sharded": ["--config_file", "deploy/accelerate/fsdp2.yaml", "--num_processes", "2"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(str(folder))
    return folder


def group(index: int) -> RolloutGroup:
    """Two answers, uneven lengths, engine values that are a little off."""
    rng = torch.Generator().manual_seed(index)

    def ids(count: int) -> list[int]:
        return torch.randint(0, VOCAB, (count,), generator=rng).tolist()

    rollouts = []
    for answer in "1121212":
        tokens = ids(int(torch.randint(1, 12, (1,), generator=rng)))
        values = (-3.6 + torch.rand(len(tokens), generator=rng)).tolist()
        rollouts.append(Rollout(rf"\boxed{{{answer}}}", tokens, values, "stop"))
    prompt = ids(2 + index % 3)
    return RolloutGroup(str(index), "", prompt, rollouts, BASE, Sampling(), "c", 0.0)


def launcher(*flags: str) -> list[str]:
    """What `accelerate launch` is, on a port of its own."""
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    return [*command, "--main_process_port", str(free_port()), *flags]


@contextmanager
def learner(url: str, model: Path, folder: Path, launch: list[str]) -> Iterator[psutil.Process]:
    """A running learner, alone or under a launcher; all of it is gone afterwards."""
    flags = {
        "model": model, "redis_url": url, "adapters_dir": folder, "device": "cpu", "threads": 1,
        "groups_per_update": GROUPS, "max_lag": UPDATES, "learning_rate": 1e-2, "passes": 2,
        "lora_rank": 8, "micro_batch_tokens": 64, "lease_seconds": 2, "peer_seconds": 60,
        "reward": "dare", "reward_options": "tau=0", "duplicate_limit": GROUPS, "log_dir": "",
    }  # fmt: skip
    given = [part for k, v in flags.items() for part in (f"--{k.replace('_', '-')}", str(v))]
    command = [*(launcher(*launch) if launch else [sys.executable]), "-m", "adapter", *given]
    with (folder / "log").open("ab") as log:
        process = psutil.Popen(
            command, cwd=ROOT, stdout=log, stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        yield process
    finally:
        family = [process, *process.children(recursive=True)] if alive(process) else []
        for member in family[:1]:
            member.terminate()
        _, left = psutil.wait_procs(family, 30)
        for survivor in left:
            survivor.kill()
    assert not left, (folder / "log").read_text()


def ranks(process: psutil.Process) -> dict[int, psutil.Process]:
    """The launcher's processes by their rank."""
    return {
        int(child.environ()["RANK"]): child
        for child in process.children()
        if "adapter" in child.cmdline()
    }


@dataclass
class Outcome:
    """What a learner made of the same groups and verdicts."""

    folder: Path
    releases: list[AdapterRelease]

    def weights(self) -> torch.Tensor:
        return vector(self.folder / self.releases[-1].folder / WEIGHTS)

    def sheet(self) -> ProbeSheet:
        return ProbeSheet.read(self.folder / self.releases[-1].folder)


def vector(file: Path) -> torch.Tensor:
    tensors = safetensors.torch.load_file(str(file))
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


async def feed(url: str, indices: Iterable[int]) -> None:
    buffer = RedisBuffer(url)
    for index in indices:
        await buffer.append(group(index))
    await buffer.close()


async def judge(url: str, count: int, process: psutil.Process) -> list[AdapterRelease]:
    """Promote every candidate but one, as the server would, until there were that many."""
    releases = RedisReleases(url)
    seen = ""
    while True:
        found = await releases.all()
        waiting = [release for release in found if release.state is ReleaseState.CANDIDATE]
        for release in waiting:
            if len(found) == REJECTED:
                await releases.reject(release.version, "a test")
            else:
                await releases.promote(release.version, await releases.live(), "a test")
        if not waiting and len(found) >= count:
            await releases.close()
            return found
        assert alive(process)
        seen = await releases.wait(seen, 1.0)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def lease(url: str) -> bytes | None:
    with redis.Redis.from_url(url) as client:
        return client.get("{ratchet}:learner")


def delivered(url: str) -> int:
    """Groups that a learner has read and not settled."""
    with redis.Redis.from_url(url) as client:
        return client.xpending("{ratchet}:groups", "learner")["pending"]


@pytest.fixture(scope="module")
def outcomes(servers, model, tmp_path_factory) -> dict[str, Outcome]:
    """The same groups learnt by one process, by two, and by two with the base sharded."""
    found = {}
    for name, launch in {"alone": [], **LAUNCHES}.items():
        url, folder = servers("valkey").url, tmp_path_factory.mktemp(name)
        asyncio.run(feed(url, range(GROUPS * UPDATES)))
        with learner(url, model, folder, launch) as process:
            found[name] = Outcome(folder, asyncio.run(judge(url, UPDATES, process)))
        assert lease(url) is None
    return found


@pytest.mark.parametrize("name", LAUNCHES)
def test_two_processes_make_the_same_updates_as_one(
    outcomes: dict[str, Outcome], name: str
) -> None:
    alone, shared = outcomes["alone"], outcomes[name]
    assert [r.state for r in shared.releases] == [r.state for r in alone.releases]
    assert [r.state for r in alone.releases].count(ReleaseState.REJECTED) == 1
    apart = float((shared.weights() - alone.weights()).norm() / alone.weights().norm())
    print(f"{name}: weights apart by {apart:.2g}")
    assert apart < TOLERANCE
    assert not torch.equal(shared.weights(), alone.weights())  # so the work was shared
    for mine, theirs in zip(shared.releases, alone.releases, strict=True):
        assert mine.sample_ids == theirs.sample_ids
        ours, expected = ({**r.metrics, "step_time": 0.0} for r in (mine, theirs))
        assert ours == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for mine, theirs in zip(shared.sheet().adapter, alone.sheet().adapter, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(("victim", "busy"), [(0, False), (1, False), (1, True)])
def test_when_one_process_is_killed_the_other_ends_and_nothing_is_lost(
    servers, model: Path, tmp_path: Path, victim: int, busy: bool
) -> None:
    """While there is nothing to do, or in the midst of an order. The launcher, which would end the
    survivor too, is held still meanwhile."""
    url = servers("valkey").url
    asyncio.run(feed(url, range(GROUPS)))
    with learner(url, model, tmp_path, LAUNCHES["two"]) as process:
        asyncio.run(judge(url, 1, process))
        both = ranks(process)
        process.suspend()
        if busy:
            both[victim].suspend()  # the other now waits for its share, which will not come
            asyncio.run(feed(url, range(GROUPS, 2 * GROUPS)))
            wait_until(lambda: delivered(url))
        both[victim].kill()
        survivor = both[1 - victim]
        wait_until(lambda: not alive(survivor), 30)
        process.resume()
        assert process.wait(30) != 0
    assert "another rank is gone" in (tmp_path / "log").read_text()
    wait_until(lambda: lease(url) is None, 5)

    asyncio.run(feed(url, range(GROUPS, 2 * GROUPS)))  # again, where it was fed already
    with learner(url, model, tmp_path, []) as process:
        releases = asyncio.run(judge(url, 2, process))
    trained = [int(one) for release in releases for one in release.sample_ids]
    assert sorted(trained) == list(range(2 * GROUPS))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--fsdp_version", "2"], "fsdp_cpu_ram_efficient_loading"),
        (["--fsdp_version", "1"], "fsdp_version"),
    ],
)
def test_what_cannot_be_sharded_is_refused_by_name(flags: list[str], named: str) -> None:
    done = subprocess.run(
        [*launcher("--use_fsdp", *flags, "--num_processes", "2"), "-m", "adapter",
         "--device", "cpu"],
        capture_output=True, text=True, check=False, timeout=100, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode != 0
    assert re.search(rf"^ratchet: Accelerate's FSDP: .*{named}", done.stderr, re.MULTILINE)
