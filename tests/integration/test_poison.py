"""A group that kills the learner is put aside; those that were with it are not."""

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from adapter.store.redis.buffer import RedisBuffer
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


def group(name: str) -> RolloutGroup:
    rollouts = [Rollout(rf"\boxed{{{a}}}", [5], [-0.5], "stop") for a in "112"]
    return RolloutGroup(name, name, [1], rollouts, 0, Sampling(), "c", 0.0)


async def test_the_guilty_is_dead_lettered_after_three_crashes_and_the_innocent_are_trained(
    own_server, tmp_path: Path
) -> None:
    buffer = RedisBuffer(own_server.url)
    for name in ("a", "b", "poison", "c", "d"):
        await buffer.append(group(name))
    client = redis.Redis(port=own_server.port)
    crashes = 0

    def trained() -> bool:
        totals = client.hgetall("{ratchet}:groups:totals")
        return int(totals.get(b"trained", 0)) == 4

    while True:
        learner = subprocess.Popen(
            [sys.executable, "-m", "tests.poisoned_learner", own_server.url, str(tmp_path)]
        )
        wait_until(lambda alive=learner: trained() or alive.poll() is not None, 20)
        if learner.poll() is None:
            learner.kill()
            learner.wait()
            break
        assert learner.returncode == 9
        crashes += 1
        assert crashes <= 3
    [(_, dead)] = client.xrange("{ratchet}:groups:dead")
    client.close()
    assert crashes == 3
    assert (dead[b"i"], dead[b"reason"]) == (b"poison", b"crashed the learner 3 times")
    state = await buffer.state()
    await buffer.close()
    assert (state.waiting, state.totals["dead"], state.totals["trained"]) == (0, 1, 4)
