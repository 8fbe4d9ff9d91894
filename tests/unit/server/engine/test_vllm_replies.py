"""Rollouts put together from chunks, and what is refused."""

from typing import Any

import orjson
import pytest

from server.engine.base import EngineFailed, EngineRefused, EngineReplyInvalid
from server.engine.vllm_replies import RolloutAssembly, read_event, read_lean, refusal


def chunk(index: int, content: str, ids: list[int], **more: Any) -> dict[str, Any]:
    logprobs = {"content": [{"token": "t", "logprob": -float(i)} for i in ids]}
    choice = {"index": index, "delta": {"content": content}, "logprobs": logprobs}
    return {"choices": [{"finish_reason": None, **choice, "token_ids": ids, **more}]}


ROLE = {"prompt_token_ids": [7, 8], "choices": [{"index": 0, "delta": {"role": "assistant"}}]}


def test_chunks_become_rollouts_as_each_is_finished() -> None:
    assembly = RolloutAssembly(2)
    assert assembly.add([ROLE, chunk(0, "a", [1]), chunk(1, "x", [5])]) == []
    [draw] = assembly.add([chunk(1, "yz", [6, 7], finish_reason="stop", stop_reason="END")])
    assert (draw.index, draw.rollout.text, list(draw.rollout.token_ids)) == (1, "xyz", [5, 6, 7])
    assert list(draw.rollout.logprobs) == [-5.0, -6.0, -7.0]
    assert (draw.prompt_ids, draw.choice["stop_reason"]) == ([7, 8], "END")
    assert draw.choice["message"] == {"role": "assistant", "content": "xyz"}
    assert len(draw.choice["logprobs"]["content"]) == 3
    with pytest.raises(EngineReplyInvalid, match="1 rollouts of 2"):
        assembly.check_whole()
    [last] = assembly.add([chunk(0, "b", [2], finish_reason="length")])
    assert (last.rollout.text, last.rollout.finish_reason) == ("ab", "length")
    assembly.check_whole()


def test_reasoning_is_kept_apart_from_content() -> None:
    assembly = RolloutAssembly(1)
    thought = chunk(0, "", [1])
    thought["choices"][0]["delta"] = {"reasoning": "hm "}
    more = chunk(0, "", [2])
    more["choices"][0]["delta"] = {"reasoning": "so"}
    [draw] = assembly.add([ROLE, thought, more, chunk(0, "4", [3], finish_reason="stop")])
    assert draw.choice["message"] == {"role": "assistant", "content": "4", "reasoning": "hm so"}
    assert draw.rollout.text == "4"


END = chunk(0, "a", [1], finish_reason="stop")


@pytest.mark.parametrize(
    "chunks",
    [
        [END],  # no prompt
        [ROLE, {}],
        [ROLE, {"choices": None}],
        [ROLE, {"choices": [{}]}],
        [ROLE, chunk(0, "a", [1, 2], finish_reason="stop", token_ids=[1])],
        [ROLE, chunk(0, "a", [1], finish_reason="stop", token_ids=[2**40])],
        [ROLE, chunk(0, "a", [1], finish_reason="stop", token_ids=["1"])],
        [ROLE, chunk(0, "a", [1], finish_reason="stop", logprobs=None)],
        [ROLE, chunk(0, "a", [1], finish_reason="stop",
                     logprobs={"content": [{"logprob": float("nan")}]})],
        [ROLE, chunk(0, "a", [1], finish_reason="stop",
                     logprobs={"content": [{"logprob": None}]})],
        [ROLE, chunk(3, "a", [1], finish_reason="stop")],
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(chunks: list[dict[str, Any]]) -> None:
    with pytest.raises(EngineReplyInvalid):
        RolloutAssembly(1).add(chunks)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b"{", EngineReplyInvalid),
        (b"[]", EngineReplyInvalid),
        (b'{"error": {"code": 500}}', EngineFailed),
        (b'{"error": "no"}', EngineFailed),
        (b'{"error": {"message": "too long", "code": 400}}', EngineRefused),
    ],
)
def test_events_that_are_none(event: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_event(event)


def test_a_context_overflow_is_named_as_openai_does() -> None:
    error = {"message": "maximum context length is 128", "param": None, "code": 400}
    refused = refusal(400, orjson.dumps({"error": error}))
    assert (refused.param, refused.code) == ("messages", "context_length_exceeded")
    assert refusal(418, b"teapot").status == 418


TOKENS = [
    ('a"', -0.5),
    ('"logprob":9,"', -1.25),
    ("\\", -2e-07),
    (']},"finish_reason":', 0.0),
    ("\u00e9\U0001f600\n", -17.0),
]


@pytest.mark.parametrize("finish", [None, "stop"])
def test_a_lean_reading_finds_the_same_numbers(finish: str | None) -> None:
    content = [
        {"token": t, "logprob": p, "bytes": list(t.encode()), "top_logprobs": []} for t, p in TOKENS
    ]
    text = "".join(token for token, _ in TOKENS)
    choice = {"index": 2, "delta": {"content": text}, "logprobs": {"content": content},
              "finish_reason": finish, "token_ids": [1, 2, 3, 4, 5]}  # fmt: skip
    event = orjson.dumps({"id": "x", "choices": [choice]})
    [lean] = read_lean(event)["choices"]
    assert list(lean["logprob_values"]) == pytest.approx([p for _, p in TOKENS])
    assert {**lean, "logprob_values": 0} == {**choice, "logprobs": None, "logprob_values": 0}


def test_a_chunk_without_logprobs_is_read_as_it_is() -> None:
    event = orjson.dumps(ROLE)
    assert read_lean(event) == ROLE
