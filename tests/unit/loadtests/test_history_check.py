"""The offline checker finds what it is there to find."""

import hashlib
from copy import deepcopy
from typing import Any

import orjson
import pytest

from loadtests.history_check import check


def entry(seq: int, previous: str) -> dict[str, Any]:
    made = {"seq": seq, "previous": previous, "event": "published", "hash": ""}
    text = orjson.dumps(made, option=orjson.OPT_SORT_KEYS)
    return {**made, "hash": hashlib.sha256(text).hexdigest()}


FIRST = entry(1, "0" * 64)
HISTORY: list[dict[str, Any]] = [
    {"at": 1, "op": "append", "id": "a"},
    {"at": 2, "op": "append", "id": "a", "result": "recorded"},
    {"at": 3, "op": "append", "id": "b"},
    {"at": 4, "op": "append", "id": "b", "result": "duplicate"},
    {"at": 5, "op": "append", "id": "c"},  # never answered: may be in or not
    {"at": 6, "op": "promote", "version": 1, "result": "true"},
    {"at": 7, "op": "kill", "role": "learner"},
]
DUMP: dict[str, Any] = {
    "groups": ["b"],
    "dead": [],
    "clients": {"b": "c"},
    "totals": {"accepted": 2, "trained": 1},
    "releases": {"1": {"sample_ids": ["a"], "parent": 0, "state": "live"}},
    "ledger": [FIRST, entry(2, FIRST["hash"])],
    "live": 1,
    "weights": ["a"],
}


def test_nothing_wrong() -> None:
    found = check(HISTORY, DUMP)
    assert found["faults"] == []
    assert (found["accepted"], found["trained"], found["waiting"], found["kills"]) == (2, 1, 1, 1)


def lost(dump: dict[str, Any]) -> None:
    dump["groups"] = []
    dump["totals"] = {"accepted": 1, "trained": 1}


def doubled(dump: dict[str, Any]) -> None:
    dump["releases"]["2"] = {"sample_ids": ["a"], "parent": 1, "state": "rejected"}


def doubled_in_weights(dump: dict[str, Any]) -> None:
    dump["weights"] = ["a", "a"]


def other_weights(dump: dict[str, Any]) -> None:
    dump["weights"] = ["c"]


def open_accounts(dump: dict[str, Any]) -> None:
    dump["totals"]["accepted"] = 3


def broken_chain(dump: dict[str, Any]) -> None:
    dump["ledger"][1]["event"] = "promoted"


def missing_entry(dump: dict[str, Any]) -> None:
    del dump["ledger"][0]


def undone_verdict(dump: dict[str, Any]) -> None:
    dump["releases"]["1"]["state"] = "candidate"


def out_of_nowhere(dump: dict[str, Any]) -> None:
    dump["releases"]["1"]["sample_ids"] = ["a", "z"]
    dump["weights"] = ["a", "z"]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lost, "1 lost: ['b']"),
        (doubled, "1 doubled: ['a']"),
        (doubled_in_weights, "1 doubled: ['a']"),
        (other_weights, "not trained on what its lineage says"),
        (open_accounts, "accounts are open"),
        (broken_chain, "broken at entry 2"),
        (missing_entry, "broken at entry 1"),
        (undone_verdict, "promote of v1 was acknowledged and is gone"),
        (out_of_nowhere, "1 trained that nobody offered"),
    ],
)
def test_each_fault_is_found(damage, complaint: str) -> None:
    dump = deepcopy(DUMP)
    damage(dump)
    assert any(complaint in fault for fault in check(HISTORY, dump)["faults"])


QUESTIONS = [
    {"at": 10, "op": "ask", "client": "q1"},
    {"at": 11, "op": "answer", "client": "q1", "recorded": True},
    {"at": 12, "op": "ask", "client": "q2"},
    {"at": 13, "op": "answer", "client": "q2", "recorded": True},
]


def asked(*more: dict[str, Any], clients: dict[str, str]) -> dict[str, Any]:
    dump = deepcopy(DUMP)
    dump["clients"] |= clients
    dump["groups"] += clients
    dump["totals"]["accepted"] += len(clients)
    return check([*HISTORY, *QUESTIONS, *more], dump)


def test_answers_that_are_recorded_have_groups() -> None:
    found = asked(clients={"x": "q1", "y": "q2"})
    assert (found["faults"], found["served"], found["lost_with_server"]) == ([], 2, 0)


def test_what_a_killed_server_had_in_memory_may_be_lost_and_is_counted() -> None:
    killed = {"at": 14, "op": "kill", "role": "server"}
    found = asked(killed, clients={"x": "q1"})
    assert (found["faults"], found["served"], found["lost_with_server"]) == ([], 1, 1)
    for spared in ({**killed, "role": "redis"}, {**killed, "at": 99}, {**killed, "at": 12}):
        assert "recorded answers lost: ['q2']" in asked(spared, clients={"x": "q1"})["faults"][0]


def test_no_question_is_in_more_groups_than_it_was_asked() -> None:
    clients = {"x": "q1", "y": "q2", "z": "q2"}
    assert "more groups than asked: ['q2']" in asked(clients=clients)["faults"][0]
    again = {"at": 13, "op": "ask", "client": "q2"}
    assert asked(again, clients=clients)["faults"] == []
