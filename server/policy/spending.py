"""What is generated for each token of an answer, and the bound on it."""

import math
from dataclasses import dataclass

_AHEAD_TOKENS = 1_024.0
"""Answered tokens whose budget may be spent before they are answered: a quiet hour does not pay for
a busy one."""
_OWED = 8.0
"""Times as much may be owed: a candidate, once begun, is judged to the end. What is beyond it is
forgiven, or who asks for many rollouts would stop all learning for good."""
_SMOOTHING = 0.02
_REMEMBERED = 4_096.0
"""Answered tokens that the price looks back on, fading."""


@dataclass(slots=True)
class Spending:
    """An account in generated tokens, of one server process. Each token of a reply pays in
    `budget`; each token generated, for whatever purpose, takes one out. 0: no bound."""

    budget: float = 0.0
    _balance: float = 0.0
    _stretch: float = 1.0
    _answered: float = 0.0
    _generated: float = 0.0

    def __post_init__(self) -> None:
        self._balance = self._credit

    def answered(self, tokens: int, usual: float) -> None:
        """Count tokens of a reply, where as many of its rollouts have `usual` ones: often a short
        one is served."""
        stretch = max(1.0, usual / max(1, tokens))
        self._stretch += _SMOOTHING * (stretch - self._stretch)
        fading = math.exp(-tokens / _REMEMBERED)
        self._answered = self._answered * fading + tokens
        self._generated *= fading
        self._balance = min(self._balance + self.budget * tokens, self._credit)

    def generated(self, tokens: int) -> None:
        """Count tokens generated, those of replies too."""
        self._generated += tokens
        self._balance = max(self._balance - tokens, -_OWED * self._credit)

    @property
    def price(self) -> float | None:
        """Tokens generated lately for each token of a reply; None before the first."""
        return self._generated / self._answered if self._answered else None

    @property
    def affords(self) -> bool:
        """Whether there is something left for learning and judging."""
        return not self.budget or self._balance > 0.0

    def most_rollouts(self, wanted: int) -> int:
        """How many of the rollouts that are wanted a question may have: over the budget as many as
        half of it pays for, so that the rest pays back; deep in debt, one."""
        if self.affords:
            return wanted
        deep = self._balance < -self._credit
        return min(wanted, 1 if deep else max(1, int(self.budget / 2 / self._stretch)))

    @property
    def _credit(self) -> float:
        return self.budget * _AHEAD_TOKENS
