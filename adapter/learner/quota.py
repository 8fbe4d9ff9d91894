"""Limits how much of one update comes from one client or from one repeated question.

With API keys a client is a key's holder, whatever users it names; within it, the users share.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adapter.learner.prompt_print import PromptPrint
from adapter.store.buffer import Outcome
from adapter.store.clients import holder_of

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class InfluenceLimits:
    """Of one update: groups and share of tokens of one client, groups of nearly the same prompt,
    groups of one client whose prompts differ in numbers alone. None and 1.0 are no limits."""

    client_groups: int | None = None
    client_token_share: float = 1.0
    duplicates: int | None = None
    variants: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A group in the batch: its client, its completion tokens to learn from, its prompt."""

    client: str
    tokens: int
    prompt: PromptPrint

    @property
    def holder(self) -> str:
        """Whose key it was asked with; the user itself where there are no keys."""
        return holder_of(self.client)


def refusal(
    batch: Sequence[Member], client: str, prompt: PromptPrint, limits: InfluenceLimits
) -> Outcome | None:
    """Why a group of this client with this prompt must not join the batch, or None."""
    theirs = [member for member in batch if member.holder == holder_of(client)]
    if limits.client_groups is not None and len(theirs) >= limits.client_groups:
        return Outcome.CLIENT_QUOTA
    if limits.variants is not None:
        variants = sum(member.prompt.variant_of(prompt) for member in theirs)
        if variants >= limits.variants:
            return Outcome.NEAR_DUPLICATE
    if limits.duplicates is not None:
        copies = sum(member.prompt.like(prompt) for member in batch)
        if copies >= limits.duplicates:
            return Outcome.NEAR_DUPLICATE
    return None


def surplus(batch: Sequence[Member], limits: InfluenceLimits) -> int | None:
    """Index of the member to drop from a full batch, or None.

    If a client has more than its share of the batch's tokens, it is the longest group (of equals
    the last) of the user with most, of the client with most. One at a time: its replacement changes
    all shares.
    """
    tokens, by_user = Counter[str](), Counter[tuple[str, str]]()
    for member in batch:
        tokens[member.holder] += member.tokens
        by_user[member.holder, member.client] += member.tokens
    most = max(tokens, key=lambda holder: tokens[holder])
    if tokens[most] <= limits.client_token_share * tokens.total() + _ROUNDING:
        return None
    user = max((key for key in by_user if key[0] == most), key=lambda key: by_user[key])[1]
    mine = [at for at, member in enumerate(batch) if member.client == user]
    return max(mine, key=lambda at: (batch[at].tokens, at))
