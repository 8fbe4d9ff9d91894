"""The learner over two nodes by the LeaderWorkerSet's command line: two launchers, as two pods."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from adapter.store.redis.buffer import RedisBuffer
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.architectures import build_nan
from tests.ports import free_port
from tests.processes import end_all

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "deploy/kubernetes/multi-node/learner.yaml"
NODES = 2


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_nan(tmp_path / "model")


def command(node: int, port: int) -> list[str]:
    """The manifest's, as the controller and Kubernetes complete it."""
    group = yaml.safe_load(MANIFEST.read_text())["spec"]["leaderWorkerTemplate"]
    [container] = group["leaderTemplate"]["spec"]["containers"]
    given = {
        "LWS_GROUP_SIZE": str(group["size"]), "LWS_WORKER_INDEX": str(node),
        "LWS_LEADER_ADDRESS": "127.0.0.1",
    }  # fmt: skip
    words = [
        re.sub(r"\$\((\w+)\)", lambda name: given[name[1]], word)
        for word in (*container["command"], *container["args"])
    ]
    assert words[0] == "python" and group["size"] == NODES
    return [sys.executable, *(f"--master-port={port}" if "port=" in w else w for w in words[1:])]


def sharding() -> dict[str, str]:
    """What the manifest says for a base that one GPU cannot hold."""
    told = re.search(r"would: ((?:[A-Z_]+=\w+ ?)+)", MANIFEST.read_text())
    assert told is not None
    return dict(part.split("=") for part in told[1].split())


async def test_two_nodes_learn_and_hold_together(servers, model: Path, tmp_path: Path) -> None:
    """The first node's learner diverges and holds: were the second to end by that, the controller
    would start both again, for ever."""
    url, port = servers("valkey").url, free_port()
    buffer = RedisBuffer(url)
    for name in "abcd":
        rollouts = [Rollout(rf"\boxed{{{a}}}", [5, 3, 9], [-3.6] * 3, "stop") for a in "1121"]
        await buffer.append(RolloutGroup(name, name, [1, 2], rollouts, 0, Sampling(), "c", 0.0))
    settings = {"model": model, "redis_url": url, "adapters_dir": tmp_path / "adapters",
                "device": "cpu", "groups_per_update": 1, "lora_rank": 8, "threads": 1,
                "log_dir": "", "reward": "majority", "peer_seconds": 60,
                "hold_after_giving_up": "true"}  # fmt: skip
    environment = {
        **os.environ, **sharding(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        **{f"RATCHET_{name.upper()}": str(value) for name, value in settings.items()},
    }  # fmt: skip
    logs = [tmp_path / f"node-{node}.log" for node in range(NODES)]
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for node, log in enumerate(logs):
            with log.open("wb") as out:
                nodes.append(subprocess.Popen(
                    command(node, port), cwd=ROOT, env=environment, stdout=out, stderr=out
                ))  # fmt: skip
        async with asyncio.timeout(120):
            while "gave up: waits for SIGTERM" not in logs[0].read_text():
                assert all(node.poll() is None for node in nodes), logs[0].read_text()
                await asyncio.sleep(0.1)
        state = await buffer.state()
        assert (state.totals["dropped:diverged"], state.waiting) == (3, 1)
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(nodes[1].wait, 6)  # longer than between two heartbeats
        nodes[1].terminate()
        async with asyncio.timeout(60):  # the group ends as one, and is started again as one
            assert await asyncio.to_thread(nodes[0].wait) != 0
    finally:
        end_all([node.pid for node in nodes])
        for node in nodes:
            node.wait()
        await buffer.close()
