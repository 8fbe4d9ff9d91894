"""Which candidates does an acceptor let through? `python -m loadtests.acceptors [--streams FILE]`.

Plays streams of planted candidates against the product's own decision code, without an engine, and
against accepting always, accepting if the mean is higher, and PACE's paired betting test; with no
labels, with 100 and 200, and with feedback on 5% of traffic; and with 200 labels or feedback of
which 20% lie. docs/gate.md has the file's format.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from loadtests.acceptor_rules import ACCEPTORS, Sampler
from loadtests.streams import Planted, Stream, StreamInvalid, planted_streams, read_stream

SETTINGS = ("none", "100", "200", "feedback", "200 poisoned", "feedback poisoned")
_FEEDBACK, _POISONED = 0.05, 0.2


def labels_of(planted: Planted, setting: str, noise: np.random.Generator) -> npt.NDArray[np.int64]:
    """The queries whose right answers an acceptor knows in that setting."""
    queries = planted.stream.queries
    if setting == "none":
        return np.array([], dtype=np.int64)
    if setting.startswith("feedback"):
        order = noise.permutation(len(queries))
        return order[: max(1, round(_FEEDBACK * len(queries)))]
    known = np.array([row for row, query in enumerate(queries) if query.labelled], dtype=np.int64)
    return noise.permutation(known)[: int(setting.split()[0])]


def lies_of(
    planted: Planted, setting: str, labels: npt.NDArray[np.int64], noise: np.random.Generator
) -> dict[int, int]:
    """The wrong ones of these labels in that setting, by query: another of its answers each."""
    if not setting.endswith("poisoned"):
        return {}
    width, lies = planted.base.shape[1], dict[int, int]()
    for query in noise.permutation(labels)[: round(_POISONED * len(labels))].tolist():
        lies[query] = int(planted.right[query] + noise.integers(1, max(2, width))) % width
    return lies


def play(stream: Stream, acceptor: str, setting: str, seed: int = 0) -> dict[str, Any]:
    """What an acceptor makes of a stream: accepted and offered by truth, the mean true accuracy at
    the start, at the end and at its lowest, and the rollouts sampled in a repetition."""
    planted = Planted.of(stream)
    offered, accepted = Counter[str](), Counter[str]()
    ends: list[float] = []
    lowest: list[float] = []
    rollouts = 0
    for repetition in range(stream.repetitions):
        noise = np.random.default_rng([seed, repetition])
        labels = labels_of(planted, setting, noise)
        sampler = Sampler(planted, labels, noise, lies_of(planted, setting, labels, noise))
        rule = ACCEPTORS[acceptor](sampler, planted.base)
        least = planted.accuracy(planted.base)
        for candidate in stream.candidates:
            offered[candidate.truth] += 1
            accepted[candidate.truth] += rule.offer(planted.moved(rule.live, candidate))
            least = min(least, planted.accuracy(rule.live))
        ends.append(planted.accuracy(rule.live))
        lowest.append(least)
        rollouts += sampler.rollouts
    return {
        "acceptor": acceptor,
        "labels": setting,
        "offered": dict(offered),
        "accepted": {truth: accepted[truth] for truth in offered},
        "accuracy": {
            "start": planted.accuracy(planted.base), "end": fmean(ends), "lowest": fmean(lowest),
        },
        "rollouts": round(rollouts / stream.repetitions),
    }  # fmt: skip


def table(found: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "| stream | acceptor | labels | good | harm | null | start | end | lowest | rollouts |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        shares = [
            f"{row['accepted'][truth]}/{row['offered'][truth]}" if truth in row["offered"] else ""
            for truth in ("good", "harm", "null")
        ]
        accuracy = [f"{100 * row['accuracy'][at]:.1f}" for at in ("start", "end", "lowest")]
        cells = [row["stream"], row["acceptor"], row["labels"], *shares, *accuracy,
                 f"{row['rollouts']:,}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Play the streams; 2 if a stream file cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.acceptors", description=__doc__)
    parser.add_argument("--streams", type=Path, help="a stream file in place of the planted ones")
    parser.add_argument("--repetitions", type=int, help="[the file's; 20 of the planted ones]")
    parser.add_argument("--acceptors", default=",".join(ACCEPTORS))
    parser.add_argument("--labels", default=",".join(SETTINGS))
    parser.add_argument("--only", default="", help="of the planted streams those with this text")
    parser.add_argument("--json", action="store_true", help="an object in place of a table")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.streams is None:
            streams = planted_streams(chosen.repetitions or 20)
        else:
            streams = {chosen.streams.stem: read_stream(chosen.streams)}
    except StreamInvalid as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.repetitions:
        update = {"repetitions": chosen.repetitions}
        streams = {name: stream.model_copy(update=update) for name, stream in streams.items()}
    plays = [
        (name, stream, acceptor, setting)
        for name, stream in streams.items()
        if chosen.only in name
        for acceptor in chosen.acceptors.split(",")
        for setting in chosen.labels.split(",")
    ]
    found = [
        {"stream": name, **play(stream, acceptor, setting)}
        for name, stream, acceptor, setting in tqdm(plays, disable=None)
    ]
    print(json.dumps({"results": found}, indent=2) if chosen.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
