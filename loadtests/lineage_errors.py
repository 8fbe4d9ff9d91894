"""How often the gate's tests are wrong: `python -m loadtests.lineage_errors [--runs 10000]`.

Plays the product's own tests, without slices and consensus. One trial: differences at the edge of
the margin, of several shapes, and gains. A lineage: candidates in a row, each made from the live
policy and better or worse than it by so much; parent, base and best version are compared, and the
standing comparison goes back. Policies are right in 70% of rollouts to begin with; 8 rollouts a
query by its label, no common noise.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from loadtests.acceptor_rules import RULES
from server.promotion.decision.schedule import STEP, planned_looks
from server.promotion.decision.sequential_test import Proof, SequentialTest
from server.promotion.decision.standing import Standing

Draw = Callable[[np.random.Generator], npt.NDArray[np.float64]]
"""The differences [query] of one trial."""

_QUERIES, _MARGIN, _ROLLOUTS, _RIGHT = RULES.queries, RULES.margin, 8, 0.7
_SURE = 1.645
"""Standard errors by which a candidate is better than the best version (95%)."""


def binomial(right: float, reference: float = _RIGHT, rollouts: int = _ROLLOUTS) -> Draw:
    """Rollouts that are right so often, of the candidate and its reference."""

    def draw(noise: np.random.Generator) -> npt.NDArray[np.float64]:
        ours, theirs = (noise.binomial(rollouts, p, _QUERIES) for p in (right, reference))
        return (ours - theirs) / rollouts

    return draw


def outright(gain: float, mean: float) -> Draw:
    """Some queries lost outright, and the same gain on all others: `mean` together."""
    lost = (gain - mean) / (1 + gain)

    def draw(noise: np.random.Generator) -> npt.NDArray[np.float64]:
        return np.where(noise.random(_QUERIES) < lost, -1.0, gain)

    return draw


def spread_out(mean: float, deviation: float) -> Draw:
    """Normal differences."""

    def draw(noise: np.random.Generator) -> npt.NDArray[np.float64]:
        return np.clip(noise.normal(mean, deviation, _QUERIES), -1, 1)

    return draw


TRIALS: Mapping[str, Draw] = {
    "5 points worse": binomial(_RIGHT - _MARGIN),
    "5 points worse, where half is right, 4 rollouts": binomial(0.45, 0.5, 4),
    "5 points worse, differences of 0.4": spread_out(-_MARGIN, 0.4),
    "1 in 20 lost outright": outright(0.0, -_MARGIN),
    "12% lost outright, 0.1 gained on all others": outright(0.1, -_MARGIN),
    "21% lost outright, 0.2 gained on all others": outright(0.2, -_MARGIN),
    "equal": binomial(_RIGHT),
    "equal, where half is right": binomial(0.5, 0.5),
    "5 points better, differences of 0.2": spread_out(0.05, 0.2),
    "10 points better, differences of 0.2": spread_out(0.1, 0.2),
    "10 points better, differences of 0.3": spread_out(0.1, 0.3),
    "20 points better, differences of 0.3": spread_out(0.2, 0.3),
}


def tried(draw: Draw, noise: np.random.Generator) -> tuple[Proof, int]:
    """One trial: its proof, and the queries asked by then."""
    test, looks = SequentialTest(_MARGIN), planned_looks(_QUERIES)
    for value in draw(noise).tolist():
        test.add(value)
        if test.count in looks:
            test.look(test.count / _QUERIES)
        if test.proof is not Proof.UNDECIDED and test.count % STEP == 0:
            break
    return test.proof, test.count


@dataclass(slots=True)
class Lineage:
    """So many candidates in a row, each with `step` added to the live policy's accuracy."""

    step: float
    candidates: int
    noise: np.random.Generator
    accepted: int = 0
    rollbacks: int = 0
    live: float = _RIGHT

    def play(self) -> None:
        """Offer all candidates."""
        best, standing = _RIGHT, Standing()
        for number in range(self.candidates):
            candidate = min(1.0, self.live + self.step)
            tests = self._tried(number, candidate, best, standing)
            if all(test.proof is Proof.NOT_WORSE for test in tests.values()):
                self.accepted, self.live = self.accepted + 1, candidate
                moments = tests["best" if "best" in tests else "parent"].moments
                if moments.mean > _SURE * moments.error:
                    best = candidate
            if standing.worse:
                self.live, self.rollbacks = best, self.rollbacks + 1

    def _tried(
        self, number: int, candidate: float, best: float, standing: Standing
    ) -> dict[str, SequentialTest]:
        """The tests of a candidate against each reference, after their trial."""
        policies = {"parent": self.live, "base": _RIGHT, "best": best}
        if best in (self.live, _RIGHT):
            del policies["best"]
        standing.begin(str(self.live), str(best))
        ours = self._drawn(candidate)
        theirs = {name: self._drawn(right) for name, right in policies.items()}
        tests = {name: SequentialTest(_MARGIN) for name in policies}
        rival = theirs.get("best", theirs["base"] if best == _RIGHT else theirs["parent"])
        for row in range(_QUERIES):
            for name, test in tests.items():
                test.add(ours[row] - theirs[name][row])
            if best != self.live:
                standing.add((number, row), theirs["parent"][row] - rival[row])
            if _decided(list(tests.values()), row + 1):
                break
        return tests

    def _drawn(self, right: float) -> list[float]:
        drawn = self.noise.binomial(_ROLLOUTS, right, _QUERIES) / _ROLLOUTS
        return drawn.tolist()


def _decided(tests: Sequence[SequentialTest], asked: int) -> bool:
    """Hold the look after so many queries; whether it ends the trial."""
    if asked % STEP:
        return False
    if any(test.proof is Proof.WORSE for test in tests):
        return True
    if asked in planned_looks(_QUERIES):
        for test in tests:
            test.look(asked / _QUERIES)
    return all(test.proof is Proof.NOT_WORSE for test in tests)


LINEAGES: Mapping[str, tuple[float, int]] = {
    "10 equal ones": (0.0, 10),
    "50 times 1 point worse": (-0.01, 50),
    "20 times 1 point better": (0.01, 20),
}


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.lineage_errors", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--only", default="", help="rows whose name has this text")
    chosen = parser.parse_args(arguments)
    noise = np.random.default_rng(1)
    print("| one trial | passed | proven worse | queries |\n|---|---|---|---|")
    for name, draw in TRIALS.items():
        if chosen.only in name:
            found = [tried(draw, noise) for _ in tqdm(range(chosen.runs), disable=None)]
            shares = [
                f"{100 * sum(p is proof for p, _ in found) / chosen.runs:.1f}%"
                for proof in (Proof.NOT_WORSE, Proof.WORSE)
            ]
            queries = sum(count for _, count in found) / chosen.runs
            print(f"| {name} | {' | '.join(shares)} | {queries:.0f} |", flush=True)
    print("\n| lineage | accepted | ever gone back | end | worst of 20 |\n|---|---|---|---|---|")
    for name, (step, candidates) in LINEAGES.items():
        if chosen.only in name:
            lineages = [Lineage(step, candidates, noise) for _ in range(chosen.runs)]
            for lineage in tqdm(lineages, disable=None):
                lineage.play()
            accepted = sum(one.accepted for one in lineages) / candidates / chosen.runs
            back = sum(one.rollbacks > 0 for one in lineages) / chosen.runs
            ends = np.array([100 * (one.live - _RIGHT) for one in lineages])
            print(
                f"| {name} | {100 * accepted:.1f}% | {100 * back:.2f}% | {ends.mean():+.1f} "
                f"| {np.quantile(ends, 0.05):+.1f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
