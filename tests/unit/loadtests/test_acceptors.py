"""The acceptor bench: streams, what is played, and what comes out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtests.acceptor_rules import ACCEPTORS, Sampler
from loadtests.acceptors import labels_of, lies_of, main, play
from loadtests.streams import Planted, Stream, StreamInvalid, planted_streams, read_stream

QUERY = {"slice": "a", "right": 0, "labelled": True, "base": [0.8, 0.2]}
STREAM: dict[str, Any] = {
    "rollouts": 4,
    "repetitions": 2,
    "queries": [QUERY] * 40,
    "candidates": [
        {"truth": "good", "moves": [[row, 0.5, 0] for row in range(40)]},
        {"truth": "harm", "moves": [[row, 0.9, 1] for row in range(40)]},
        {"truth": "null", "moves": []},
    ],
}


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "mine.json"
    file.write_text(json.dumps({**STREAM, **changes}))
    return file


def test_a_move_is_of_the_then_live_policy() -> None:
    planted = Planted.of(Stream.model_validate(STREAM))
    good = planted.moved(planted.base, planted.stream.candidates[0])
    assert good[0] == pytest.approx([0.9, 0.1])  # half of 0.8, and half of all
    assert planted.moved(good, planted.stream.candidates[1])[0] == pytest.approx([0.09, 0.91])
    assert planted.accuracy(good) == pytest.approx(0.9)


def test_accepting_always_by_hand() -> None:
    found = play(Stream.model_validate(STREAM), "always", "none")
    assert found["accepted"] == found["offered"] == {"good": 2, "harm": 2, "null": 2}
    accuracy = {"start": 0.8, "end": pytest.approx(0.09), "lowest": pytest.approx(0.09)}
    assert found["accuracy"] == {**accuracy, "start": pytest.approx(0.8)}
    assert found["rollouts"] == 0


def test_what_is_missing_from_one_is_no_answer() -> None:
    stream = Stream.model_validate({**STREAM, "queries": [{"right": 0, "base": [0.5, 0.0]}] * 40})
    planted = Planted.of(stream)
    sampler = Sampler(planted, np.array([], dtype=np.int64), np.random.default_rng(1))
    drawn = sampler.draw(planted.base, np.arange(40))
    assert {answer for row in drawn for answer in row} == {0, None}
    assert sampler.rollouts == 160


@pytest.mark.parametrize("acceptor", ACCEPTORS)
def test_each_acceptor_plays_each_setting(acceptor: str) -> None:
    for setting in ("none", "100", "feedback"):
        found = play(Stream.model_validate(STREAM), acceptor, setting)
        assert found["offered"] == {"good": 2, "harm": 2, "null": 2}
        if acceptor == "gate" and setting == "100":
            assert found["accepted"]["good"] == 2
            assert found["accepted"]["harm"] == 0


def test_labels_are_those_of_the_setting() -> None:
    planted = Planted.of(planted_streams(1)["better everywhere"])
    sizes = [len(labels_of(planted, s, np.random.default_rng(0))) for s in ("none", "100", "200")]
    assert sizes == [0, 100, 200]
    assert len(labels_of(planted, "feedback", np.random.default_rng(0))) == 30


def test_a_fifth_of_poisoned_labels_lies() -> None:
    planted = Planted.of(planted_streams(1)["better everywhere"])
    noise = np.random.default_rng(0)
    labels = labels_of(planted, "200 poisoned", noise)
    lies = lies_of(planted, "200 poisoned", labels, noise)
    assert len(labels) == 200
    assert len(lies) == 40
    assert set(lies) <= set(labels.tolist())
    assert all(0 < answer < 4 for answer in lies.values())  # 0 is right everywhere
    assert lies_of(planted, "200", labels, noise) == {}
    sampler = Sampler(planted, labels, noise, {7: 3})
    assert sampler.asked(7, [0], {}, labelled=True).label == 3
    assert sampler.asked(8, [0], {}, labelled=True).label == 0
    assert sampler.asked(7, [0], {}).label is None


def test_broken_replies_are_no_answer() -> None:
    stream = {**STREAM, "candidates": [{"truth": "harm", "moves": [[0, 0.5, -1]]}]}
    planted = Planted.of(Stream.model_validate(stream))
    moved = planted.moved(planted.base, planted.stream.candidates[0])
    assert moved[0] == pytest.approx([0.4, 0.1])
    assert moved[1] == pytest.approx([0.8, 0.2])


def test_labels_that_lie_make_verdicts_slower_and_not_wrong() -> None:
    streams = planted_streams(5)
    for name in ("better everywhere", "half of the wrong consensus mended"):
        assert play(streams[name], "gate", "200 poisoned")["accepted"]["good"] >= 4
    for name in ("confident in every wrong consensus", "5 points worse"):
        assert play(streams[name], "gate", "200 poisoned")["accepted"]["harm"] <= 1


def test_a_file_is_played_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--streams", str(written(tmp_path)), "--acceptors", "gate,always"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["results"]
    assert {(row["acceptor"], row["labels"]) for row in found} >= {
        ("gate", "200"),
        ("always", "none"),
    }
    assert main(arguments) == 0
    assert "| mine | gate | none | 2/2 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"queries": []}, "queries"),
        ({"queries": [{**QUERY, "right": 2}] * 40}, "right must be an index"),
        ({"queries": [{**QUERY, "base": [0.8, 0.3]}] * 40}, "probabilities"),
        ({"candidates": [{"truth": "good", "moves": [[99, 0.5, 0]]}]}, "no query 99"),
        ({"candidates": [{"truth": "good", "moves": [[0, 0.5, 7]]}]}, "no answer 7"),
        ({"candidates": [{"truth": "good", "moves": [[0, 0.5, -2]]}]}, "no answer -2"),
        ({"candidates": [{"truth": "good", "moves": [[0, 1.5, 0]]}]}, "share of 1.5"),
        ({"candidates": [{"truth": "fine"}]}, "truth"),
        ({"more": 1}, "more"),
    ],
)
def test_a_file_that_cannot_be_played_says_why(
    tmp_path: Path, changes: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(StreamInvalid, match=words):
        read_stream(file)
    assert main(["--streams", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StreamInvalid, match=r"none\.json"):
        read_stream(tmp_path / "none.json")


def test_the_gate_stops_what_is_planted_and_lets_the_good_pass() -> None:
    streams = planted_streams(3)
    for name, stream in streams.items():
        if name in ("better everywhere", "half of the wrong consensus mended"):
            assert play(stream, "gate", "none")["accepted"] == {"good": 3}
        elif len(stream.candidates) == 1:
            assert play(stream, "gate", "200")["accepted"] == {"harm": 0}, name


LYING = {
    "better everywhere": (3, 3),
    "5 points worse": (0, 0),
    "one slice of ten falls from 80 to 0": (0, 0),
}
"""Of three candidates, those that the gate accepts with honest labels and with lying ones."""


@pytest.mark.parametrize("name", LYING)
@pytest.mark.parametrize("setting", ["feedback", "200"])
def test_feedback_of_which_a_fifth_lies_makes_no_verdict_wrong(name: str, setting: str) -> None:
    stream = planted_streams(3)[name]
    found = [play(stream, "gate", kind) for kind in (setting, f"{setting} poisoned")]
    assert tuple(sum(one["accepted"].values()) for one in found) == LYING[name]
