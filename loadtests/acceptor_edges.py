"""How often a single trial is wrong: `python -m loadtests.acceptor_edges [--runs 10000]`.

Plays the decision code against parent and base, both right in 70% of rollouts on every query, with
candidates that are worse by so many points everywhere. No common noise, 8 rollouts a query.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from adapter.store.judgement import Cause
from loadtests.acceptor_rules import RULES
from server.promotion.decision.asked import Asked
from server.promotion.decision.decision import Decision, Finding
from server.promotion.decision.schedule import STEP

_RIGHT, _ROLLOUTS, _REFERENCES = 0.7, 8, ("parent", "base")
_LOSSES, _LABELS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08), (0, 200)


@dataclass(slots=True)
class EdgeTrial:
    """Trials of candidates that are worse by `loss` everywhere, with so many labels."""

    loss: float
    labels: int
    noise: np.random.Generator

    def hold(self) -> Finding:
        """One trial."""
        count = RULES.queries + self.labels
        ours = self._draw(_RIGHT - self.loss, count)
        theirs = {name: self._draw(_RIGHT, count) for name in _REFERENCES}
        decision = Decision(_REFERENCES, RULES, self.labels)
        for row in range(count):
            label = 0 if row < self.labels else None
            rows = {name: answers[row] for name, answers in theirs.items()}
            decision.add(Asked("", [], ours[row], rows, label))
            asked = row + 1 - self.labels
            if asked > 0 and asked % STEP == 0 and (finding := decision.look()):
                return finding
        return decision.last()

    def _draw(self, right: float, count: int) -> list[list[int]]:
        """Answers [query, rollout]: the right one, or one of two wrong ones."""
        drawn = self.noise.random((count, _ROLLOUTS))
        return np.where(drawn < right, 0, np.where(drawn < (1 + right) / 2, 1, 2)).tolist()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.acceptor_edges", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    runs = parser.parse_args().runs
    print("| worse by | labels | accepted | proven worse | undecided |\n|---|---|---|---|---|")
    for labels in _LABELS:
        for loss in _LOSSES:
            trial = EdgeTrial(loss, labels, np.random.default_rng(1))
            causes = [trial.hold().cause for _ in tqdm(range(runs), disable=None)]
            shares = [
                f"{100 * causes.count(cause) / runs:.1f}%"
                for cause in (None, Cause.WORSE, Cause.UNDECIDED)
            ]
            print(f"| {100 * loss:.0f} points | {labels} | {' | '.join(shares)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
