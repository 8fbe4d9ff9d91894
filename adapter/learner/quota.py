"""Limits how much of one update comes from one client or from one repeated question."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adapter.learner.prompt_print import PromptPrint
from adapter.store.buffer import Outcome

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class InfluenceLimits:
    """Of one update: groups and share of tokens of one client, groups of nearly the same prompt.
    None and 1.0 are no limits."""

    client_groups: int | None = None
    client_token_share: float = 1.0
    duplicates: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A group in the batch: its client, its completion tokens to learn from, its prompt."""

    client: str
    tokens: int
    prompt: PromptPrint


def refusal(
    batch: Sequence[Member], client: str, prompt: PromptPrint, limits: InfluenceLimits
) -> Outcome | None:
    """Why a group of this client with this prompt must not join the batch, or None."""
    if limits.client_groups is not None:
        held = sum(member.client == client for member in batch)
        if held >= limits.client_groups:
            return Outcome.CLIENT_QUOTA
    if limits.duplicates is not None:
        copies = sum(member.prompt.like(prompt) for member in batch)
        if copies >= limits.duplicates:
            return Outcome.NEAR_DUPLICATE
    return None


def surplus(batch: Sequence[Member], limits: InfluenceLimits) -> int | None:
    """Index of the member to drop from a full batch, or None.

    If a client has more than its share of the batch's tokens, it is the longest group (of equals
    the last) of the client with most. One at a time: its replacement changes all shares.
    """
    tokens: Counter[str] = Counter()
    for member in batch:
        tokens[member.client] += member.tokens
    most = max(tokens, key=lambda client: tokens[client])
    if tokens[most] <= limits.client_token_share * tokens.total() + _ROUNDING:
        return None
    mine = [at for at, member in enumerate(batch) if member.client == most]
    return max(mine, key=lambda at: (batch[at].tokens, at))
