"""What requests are charged for: what they used, or if they are broken off what they may have."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from server.engine.base import EngineError, EngineTimeout

CountTokens = Callable[[int], None]
"""Is called with tokens that a request has taken; with all of them by its end."""


def uncounted(_: int) -> None:
    """For requests that nobody pays for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Tokens that a request may take, by estimate: its prompt's, and those of `each` rollout."""

    prompt: int
    each: int
    rollouts: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.prompt + self.each * self.rollouts


class Charge:
    """Tokens of one request: those `seen`, and by estimate those that were not."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._seen, self._unseen = 0, cost.total

    @property
    def tokens(self) -> int:
        """What is charged if the request ends now."""
        return self._seen + self._unseen

    def stream(self) -> None:
        """From now on each token is seen; only the prompt's were not."""
        self._unseen = self._cost.prompt

    def see(self, tokens: int) -> None:
        """Count tokens that have come."""
        self._seen += tokens

    def settle(self, tokens: int) -> None:
        """It took so many, all in all."""
        self._seen, self._unseen = tokens, 0


def broken_off(error: BaseException | None) -> bool:
    """Whether what ended so has used the engine all the same: where the client has gone, or there
    was no time left. What the engine refuses or fails at costs nothing."""
    return isinstance(error, EngineTimeout) or not isinstance(error, EngineError)


@contextmanager
def charged(cost: Cost, count: CountTokens) -> Generator[Charge]:
    """Count what the block charges, however it ends."""
    charge = Charge(cost)
    try:
        yield charge
    except BaseException as error:
        if not broken_off(error):
            charge.settle(0)
        raise
    finally:
        count(charge.tokens)
