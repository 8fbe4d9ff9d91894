import random
import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.store.wire import WireError, pack, unpack
from rewards.rollouts import DEFAULT_KIND, Rollout, RolloutGroup, Sampling

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
tokens = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.floats(-50, 0, width=32)), max_size=10)
rollouts = st.builds(
    lambda text, row, end, entropy: Rollout(
        text, [t for t, _ in row], [p for _, p in row], end, entropy=entropy
    ),
    texts,
    tokens,
    st.sampled_from(["stop", "length"]),
    st.none() | st.floats(0, 12),
)


@given(st.lists(rollouts, max_size=5), st.lists(st.integers(0, 1000), max_size=9), texts)
def test_round_trip(drawn: list[Rollout], prompt_ids: list[int], prompt: str) -> None:
    group = RolloutGroup("id", prompt, prompt_ids, drawn, 7, Sampling(0.6, 0.9, 5, 64), "c", 1.5)
    back = unpack(pack(group))
    assert (back.id, back.prompt, list(back.prompt_ids)) == ("id", prompt, prompt_ids)
    assert (back.policy_version, back.sampling, back.created_at) == (7, group.sampling, 1.5)
    for one, other in zip(back.rollouts, drawn, strict=True):
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
        assert one.entropy == other.entropy
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


@pytest.mark.parametrize("field", [b'"entropies":[0.5],', b',"answer_kind":"words"'])
def test_groups_from_before_a_field_was_recorded_are_read(field: bytes) -> None:
    body = zlib.decompress(pack(replace(GROUP, answer_kind="words"))[3:])
    assert field in body
    old = body.replace(field, b"")
    length = struct.pack("<I", struct.unpack_from("<I", body)[0] - len(field))
    back = unpack(b"RG2" + zlib.compress(length + old[4:]))
    expected = (None, "words") if b"entropies" in field else (0.5, DEFAULT_KIND)
    assert (back.rollouts[0].entropy, back.answer_kind) == expected


def test_groups_of_the_first_version_are_read() -> None:
    """Numbers whole, as RG1 had them: the header, ids 1 and 3, log-probability -1."""
    body = zlib.decompress(pack(GROUP)[3:])
    numbers = struct.pack("<iif", 1, 3, -1.0)
    assert unpack(b"RG1" + zlib.compress(body[: -len(numbers)] + numbers)) == unpack(pack(GROUP))
    assert body[-len(numbers) :] == bytes([1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xBF])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for candidate in (data, b"RG1" + data, b"RG2" + zlib.compress(data)):
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
