"""Memory that runs out in a micro-batch: the same exception whatever the device, on all ranks."""

import traceback
from collections.abc import Callable, Sequence
from typing import cast

import torch

from adapter.trainer import OutOfMemory, TrainerLost
from adapter.training.ranks import Ranks

_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch's own error on a GPU, its allocator's or Python's on a CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class MemoryGuard:
    """One pass over the micro-batches of a batch. A rank on which memory runs out does no more
    work, but meets the others at `settle`, where all raise OutOfMemory alike."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks, self._device = ranks, device
        self._tokens = self._alone = 0

    def attempt(self, members: Sequence[int], tokens: int, work: Callable[[], None]) -> None:
        """Do `work` on the rows `members` of a micro-batch of `tokens`, unless memory ran out.
        Raises TrainerLost where ranks share each layer: the others wait inside one."""
        if self._tokens:
            return
        try:
            work()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if self._ranks.shard_base:
                raise TrainerLost(
                    f"out of memory with {tokens} tokens: set micro_batch_tokens to {tokens // 2}"
                ) from None
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
            self._tokens = max(1, tokens)
            self._alone = members[0] + 1 if len(members) == 1 else 0

    def settle(self, groups: Sequence[str]) -> None:
        """End the pass; `groups` are the ids of the rows' groups. Raises OutOfMemory."""
        state = torch.tensor([self._tokens, self._alone], dtype=torch.float64, device=self._device)
        self._ranks.greatest(state)
        tokens, alone = map(int, cast("list[float]", state.tolist()))
        if tokens:
            raise OutOfMemory(tokens, groups[alone - 1] if alone else None)
