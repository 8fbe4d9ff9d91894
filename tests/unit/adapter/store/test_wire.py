import random
import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.store.wire import WireError, pack, unpack
from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice
from rewards.rollouts import Reflection, Rollout, RolloutGroup, Sampling, ToolCall

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
tokens = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.floats(-50, 0, width=32)), max_size=10)
rollouts = st.builds(
    lambda text, row, end, entropy, calls: Rollout(
        text, [t for t, _ in row], [p for _, p in row], end, entropy=entropy, calls=tuple(calls)
    ),
    texts,
    tokens,
    st.sampled_from(["stop", "length"]),
    st.none() | st.floats(0, 12),
    st.lists(st.builds(ToolCall, texts, texts), max_size=2),
)


@given(st.lists(rollouts, max_size=5), st.lists(st.integers(0, 1000), max_size=9), texts)
def test_round_trip(drawn: list[Rollout], prompt_ids: list[int], prompt: str) -> None:
    group = RolloutGroup("id", prompt, prompt_ids, drawn, 7, Sampling(0.6, 0.9, 5, 64), "c", 1.5)
    back = unpack(pack(group))
    assert (back.id, back.prompt, list(back.prompt_ids)) == ("id", prompt, prompt_ids)
    assert (back.policy_version, back.sampling, back.created_at) == (7, group.sampling, 1.5)
    for one, other in zip(back.rollouts, drawn, strict=True):
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
        assert (one.entropy, one.calls) == (other.entropy, other.calls)
        assert list(one.token_ids) == list(other.token_ids)
        assert list(one.logprobs) == list(other.logprobs)


def test_64_rollouts_of_3000_tokens_fit_in_1600_kb() -> None:
    rng = random.Random(0)
    words = [
        " " + "".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(2, 8))) for _ in range(999)
    ]
    rolled = [
        Rollout(
            "".join(rng.choices(words, k=3000)),
            [rng.randrange(150_000) for _ in range(3000)],
            [-rng.expovariate(3) for _ in range(3000)],
            "stop",
        )
        for _ in range(64)
    ]
    group = RolloutGroup("id", "p", [1] * 200, rolled, 1, Sampling(), "c", 0.0)
    assert len(pack(group)) <= 1_600_000


GROUP = RolloutGroup(
    "id", "p", [1], [Rollout("t", [3], [-1.0], "stop", entropy=0.5)], 0, Sampling(), "c", 0
)


def with_header(group: RolloutGroup, magic: bytes, old: bytes, new: bytes) -> bytes:
    """A packed group of another version, with something else in its header."""
    body = zlib.decompress(pack(group)[3:])
    assert old in body
    length = struct.pack("<I", struct.unpack_from("<I", body)[0] - len(old) + len(new))
    return magic + zlib.compress(length + body.replace(old, new)[4:])


CHOICE = AnswerChoice("choice", options=("yes", "no"))
ANSWER = b',"answer":{"kind":"choice","options":["yes","no"]}'


def test_a_group_carries_how_it_is_read() -> None:
    assert unpack(pack(replace(GROUP, answer=CHOICE))).answer == CHOICE


@pytest.mark.parametrize(
    ("named", "choice"),
    [
        (b"", MATH_OR_LAST_NUMBER),
        (b',"answer_kind":"math"', MATH_OR_LAST_NUMBER),
        (b',"answer_kind":"words"', AnswerChoice("words")),
    ],
)
def test_groups_of_the_second_version_name_a_kind_if_anything(named, choice) -> None:
    data = with_header(replace(GROUP, answer=CHOICE), b"RG2", ANSWER, named)
    assert unpack(data).answer == choice


@pytest.mark.parametrize("chosen", [None, "46", "half: 1/2 \u00bd"])
def test_a_group_carries_what_the_model_chose(chosen: str | None) -> None:
    assert unpack(pack(GROUP)).reflection is None
    group = replace(GROUP, reflection=Reflection(chosen))
    assert unpack(pack(group)).reflection == Reflection(chosen)


def test_a_choice_that_is_no_text_is_refused() -> None:
    group = replace(GROUP, reflection=Reflection("46"))
    with pytest.raises(WireError, match="no text"):
        unpack(with_header(group, b"RG3", b'"reflection":"46"', b'"reflection":46'))


def test_a_group_without_a_choice_or_with_a_bad_one_is_refused() -> None:
    for new in (b"", b',"answer":7', b',"answer":{"kind":"math","options":["a","b"]}'):
        with pytest.raises(WireError):
            unpack(with_header(replace(GROUP, answer=CHOICE), b"RG3", ANSWER, new))


def test_groups_from_before_entropies_were_recorded_are_read() -> None:
    data = with_header(GROUP, b"RG3", b'"entropies":[0.5],', b"")
    assert unpack(data).rollouts[0].entropy is None


def test_groups_of_the_first_version_are_read() -> None:
    """Numbers whole, as RG1 had them: the header, ids 1 and 3, log-probability -1."""
    body = zlib.decompress(pack(GROUP)[3:])
    numbers = struct.pack("<iif", 1, 3, -1.0)
    assert unpack(b"RG1" + zlib.compress(body[: -len(numbers)] + numbers)) == unpack(pack(GROUP))
    assert body[-len(numbers) :] == bytes([1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xBF])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for candidate in (
        data,
        b"RG1" + data,
        b"RG2" + zlib.compress(data),
        b"RG3" + zlib.compress(data),
    ):
        with pytest.raises(WireError):
            unpack(candidate)


def test_every_cut_and_every_flipped_byte_is_refused_or_harmless() -> None:
    group = RolloutGroup(
        "id", "p", [1, 2], [Rollout("t", [3], [-1.0], "stop")], 0, Sampling(), "c", 0
    )
    data = pack(group)
    for end in range(len(data)):
        with pytest.raises(WireError):
            unpack(data[:end])
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
        try:
            back = unpack(damaged)
        except WireError:
            continue
        assert pack(back) == data  # a bit of the compressor's header that means nothing
