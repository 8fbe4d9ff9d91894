"""Checks, from files alone and without product code, that nothing was lost, doubled or falsified.

`history*.jsonl` have a line for the begin and the end of every operation; `dump.json` has what
Redis and the adapters folder held at the end: `groups` still waiting, `dead`, `clients` (of the
groups that are kept anywhere, by id), `totals`, `releases`, `ledger`, `live` and `weights` (the ids
that the live adapter was trained on, in order). A question's group may be lost with the server that
was killed just then, and is counted (docs/faults.md); any other loss is a fault.
`python -m loadtests.history_check FOLDER` prints a line and exits 1 if something is wrong.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

_MEMORY_SECONDS = 3.0
"""A group waits no longer in the server's memory, unless Redis is away for longer."""


def check(history: Sequence[Mapping[str, Any]], dump: Mapping[str, Any]) -> dict[str, Any]:
    """Counts, and in `faults` a sentence for everything wrong."""
    accepted = {
        line["id"]
        for line in history
        if line["op"] == "append" and line.get("result") in ("recorded", "duplicate")
    }
    offered = {line["id"] for line in history if line["op"] == "append"}
    releases = {int(version): release for version, release in dump["releases"].items()}
    trained = [one for release in releases.values() for one in release["sample_ids"]]
    waiting, dead = set(dump["groups"]), set(dump["dead"])
    counts = Counter(trained)
    lost = accepted - counts.keys() - waiting - dead
    doubled = {one for one, count in counts.items() if count > 1}
    doubled |= {one for one, count in Counter[str](dump["weights"]).items() if count > 1}
    faults = [f"{len(lost)} lost: {sorted(lost)[:5]}"] if lost else []
    if doubled:
        faults.append(f"{len(doubled)} doubled: {sorted(doubled)[:5]}")
    served = {one: who for one, who in dump["clients"].items() if one not in offered}
    spared, forgotten, repeated = _questions(history, Counter(served.values()))
    if forgotten:
        faults.append(f"{len(forgotten)} recorded answers lost: {sorted(forgotten)[:5]}")
    if repeated:
        faults.append(f"{len(repeated)} questions in more groups than asked: {repeated[:5]}")
    if unknown := counts.keys() - offered - served.keys():
        faults.append(f"{len(unknown)} trained that nobody offered")
    if list(dump["weights"]) != _lineage(releases, dump["live"]):
        faults.append("the live adapter was not trained on what its lineage says")
    faults += _acknowledged(history, releases) + _broken(dump["ledger"])
    totals = dict(dump["totals"])
    settled = sum(count for outcome, count in totals.items() if outcome != "accepted")
    if totals.get("accepted", 0) != settled + len(waiting):
        faults.append(f"accounts are open: {totals} and {len(waiting)} waiting")
    return {
        "accepted": len(accepted),
        "served": len(served),
        "lost_with_server": len(spared),
        "trained": len(counts),
        "waiting": len(waiting),
        "dead": len(dead),
        "lost": len(lost),
        "doubled": len(doubled),
        "releases": len(releases),
        "kills": sum(line["op"] == "kill" for line in history),
        "faults": faults,
    }


def _questions(
    history: Sequence[Mapping[str, Any]], groups: Mapping[str, int]
) -> tuple[set[str], set[str], list[str]]:
    """Of the questions to the server: those recorded and lost when it was killed, those lost
    otherwise, and those with more groups than times they were asked."""
    killed = [line["at"] for line in history if line["op"] == "kill" and line["role"] == "server"]
    asked = Counter(line["client"] for line in history if line["op"] == "ask")
    spared, forgotten = set[str](), set[str]()
    for line in history:
        if line["op"] == "answer" and line["recorded"] and not groups.get(line["client"]):
            soon = any(0 <= at - line["at"] <= _MEMORY_SECONDS for at in killed)
            (spared if soon else forgotten).add(line["client"])
    return spared, forgotten, [who for who, count in groups.items() if count > asked[who]]


def _lineage(releases: Mapping[int, Mapping[str, Any]], live: int) -> list[str]:
    """Ids that a version and its ancestors were trained on, oldest first."""
    ids: list[str] = []
    while live:
        ids = [*releases[live]["sample_ids"], *ids]
        live = releases[live]["parent"]
    return ids


def _acknowledged(
    history: Sequence[Mapping[str, Any]], releases: Mapping[int, Mapping[str, Any]]
) -> list[str]:
    """Verdicts that were acknowledged must still stand."""
    stands = {"promote": {"live", "retired"}, "reject": {"rejected"}}
    return [
        f"{line['op']} of v{line['version']} was acknowledged and is gone"
        for line in history
        if line["op"] in stands
        and line.get("result") == "true"
        and releases[line["version"]]["state"] not in stands[line["op"]]
    ]


def _broken(ledger: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first break in the chain of hashes."""
    previous = "0" * 64
    for number, entry in enumerate(ledger, 1):
        fields = {name: value for name, value in entry.items() if name != "mac"}
        if not entry.get("key"):
            fields.pop("key", None)
        text = orjson.dumps({**fields, "hash": ""}, option=orjson.OPT_SORT_KEYS)
        whole = entry["hash"] == hashlib.sha256(text).hexdigest()
        if entry["seq"] != number or entry["previous"] != previous or not whole:
            return [f"the ledger is broken at entry {number}"]
        previous = entry["hash"]
    return []


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """History (of all files, by time, without truncated lines) and dump."""
    history: list[dict[str, Any]] = []
    for file in sorted(folder.glob("history*.jsonl")):
        for line in file.read_text().splitlines():
            try:
                history.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    history.sort(key=lambda line: line["at"])
    return history, json.loads((folder / "dump.json").read_text())


def main() -> int:
    """Check one folder."""
    found = check(*read(Path(sys.argv[1])))
    faults = found.pop("faults")
    print(", ".join(f"{name} {count}" for name, count in found.items()))
    print("\n".join(faults) or "nothing is lost, doubled or falsified")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
