import orjson

from server.engine.late_logprobs import LateLogprobs, tops_of, values_of

CHAT = [
    {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"logprob": -0.5}]}]},
    {"content": [{"token": "b", "logprob": -1.5, "top_logprobs": [{"logprob": -0.25}]}]},
]
TEXT = {
    "tokens": ["a", "b"], "token_logprobs": [-0.5, -1.5],
    "top_logprobs": [{"a": -0.5, "c": -2.0}, {"d": -0.25}], "text_offset": [0, 1],
}  # fmt: skip


def test_chunks_are_joined_field_by_field() -> None:
    late = LateLogprobs([orjson.dumps(part) for part in CHAT])
    assert dict(late) == {"content": [*CHAT[0]["content"], *CHAT[1]["content"]]}
    assert late["content"] is late["content"]  # parsed once
    halves = [{name: values[at : at + 1] for name, values in TEXT.items()} for at in (0, 1)]
    assert dict(LateLogprobs([orjson.dumps(half) for half in halves])) == TEXT
    assert dict(LateLogprobs([])) == {}


def test_numbers_of_both_kinds_of_choices() -> None:
    assert [list(values_of(part)) for part in CHAT] == [[-0.5], [-1.5]]
    assert list(values_of(TEXT)) == [-0.5, -1.5]
    assert [tops_of(part) for part in CHAT] == [[(-0.5,)], [(-0.25,)]]
    assert tops_of(TEXT) == [(-0.5, -2.0), (-0.25,)]
    assert tops_of({"token_logprobs": []}) == []
