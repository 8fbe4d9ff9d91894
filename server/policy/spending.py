"""What is generated for each token of an answer, and the bound on it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

_AHEAD_TOKENS = 1_024.0
"""Answered tokens whose budget may be spent before or after they are answered: a candidate is
judged at a stroke, and a quiet hour does not pay for a busy one."""
_REMEMBERED = 4_096.0
"""Answered tokens that the price looks back on, fading."""


@dataclass(slots=True)
class Spending:
    """An account in generated tokens, of one server process. Each token of a reply pays in
    `budget`; each token generated, for whatever purpose, takes one out. 0: no bound."""

    budget: float = 0.0
    on_change: Callable[[], None] = lambda: None
    """Called when something has been paid in."""
    _balance: float = 0.0
    _answered: float = 0.0
    _generated: float = 0.0

    def __post_init__(self) -> None:
        self._balance = self.budget * _AHEAD_TOKENS

    def answered(self, tokens: int) -> None:
        """Count tokens of replies."""
        fading = math.exp(-tokens / _REMEMBERED)
        self._answered = self._answered * fading + tokens
        self._generated *= fading
        most = self.budget * _AHEAD_TOKENS
        self._balance = min(self._balance + self.budget * tokens, most)
        self.on_change()

    def generated(self, tokens: int) -> None:
        """Count tokens generated, those of replies too."""
        self._generated += tokens
        if self.budget:
            self._balance -= tokens

    @property
    def price(self) -> float | None:
        """Tokens generated lately for each token of a reply; None before the first."""
        return self._generated / self._answered if self._answered else None

    @property
    def affords(self) -> bool:
        """Whether there is something left for learning and judging."""
        return not self.budget or self._balance > 0.0

    def most_rollouts(self, wanted: int) -> int:
        """How many of the rollouts that are wanted a question may have."""
        return wanted if self.affords else min(wanted, max(1, int(self.budget)))
