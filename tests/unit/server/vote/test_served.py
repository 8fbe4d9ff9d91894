"""What is served of a vote, and how it came about."""

import time

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import Rollout, ToolCall
from rewards.votes import take_vote
from server.api.replies import Served
from server.engine.base import Draw
from server.policy.reasons import Unrecorded
from server.policy.support import Support
from server.vote.served import served_of
from server.vote.tally import RunningTally


async def served(kind: str, *rollouts: Rollout | str, support: float = 0.125) -> Served:
    made = [Rollout(r, [1], [-0.1], "stop") if isinstance(r, str) else r for r in rollouts]
    running = RunningTally(
        AnswerKinds().of(AnswerChoice(kind)), len(made), support=Support(support)
    )
    await running.add([Draw(i, [1], {}, rollout) for i, rollout in enumerate(made)])
    tally = await running.current()
    return await served_of(running, tally, take_vote(tally))


def calling(city: str) -> Rollout:
    call = ToolCall("weather", f'{{"city":"{city}"}}')
    return Rollout("", [1], [-0.1], "tool_calls", calls=(call,))


async def test_the_winner_is_its_first_rollout() -> None:
    found = await served("short", "Oslo", "Rome", "Rome")
    assert (found.row, found.answer, found.reason) == (1, "Rome", None)
    assert found.distribution == {"oslo": 1 / 3, "rome": 2 / 3}


async def test_support_is_a_share_of_all_rollouts() -> None:
    found = await served("short", "Rome", "Rome", "Oslo", "Bern", support=0.6)
    assert (found.answer, found.reason) == (None, Unrecorded.NO_CONSENSUS)


async def test_reasoning_is_no_part_of_what_is_close() -> None:
    thought = "<think>" + "we say blue or red or green and so on " * 9 + "</think>"
    texts = [thought + "Cats sleep all day long.", thought + "Dogs run about in the park today.",
             "Dogs run about in the park at night."]  # fmt: skip
    assert (await served("text", *texts)).row in (1, 2)


async def test_calls_are_served_by_the_leading_values_of_their_fields() -> None:
    found = await served("tool_calls", calling("Rome"), calling("Oslo"), calling("Bern"))
    assert (found.row, found.reason) == (0, Unrecorded.NO_CONSENSUS)
    assert found.distribution == {"/weather/0": 1.0, "/weather/0/city": 1 / 3}


async def test_many_fields_are_cut_to_those_least_agreed_on() -> None:
    fields = ",".join(f'"f{n}":1' for n in range(600))
    one, other = f'{{{fields},"last":1}}', f'{{{fields},"last":2}}'
    shares = (await served("json", one, one, other)).distribution
    assert len(shares) == 256
    assert shares["/last"] == 2 / 3


async def test_prose_takes_no_longer_than_a_vote_may() -> None:
    texts = [" ".join(f"w{(n * n + i) % 700}" for n in range(500)) for i in range(64)]
    await served("text", *texts)
    started = time.perf_counter()
    assert (await served("text", *texts)).reason is Unrecorded.MEDOID
    assert time.perf_counter() - started < 2.0  # 10 ms or so on an idle core
