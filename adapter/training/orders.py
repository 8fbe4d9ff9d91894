"""What rank 0 says to the other ranks: JSON and bytes, never a pickle."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.distributed as dist

from adapter.trainer import TrainerLost


class Orders:
    """A channel of its own from rank 0 to all others, over gloo whatever the devices are.

    Both ends raise TrainerLost when the other is gone, or silent for `patience` seconds.
    """

    def __init__(self, patience: float) -> None:
        self._group: Any = dist.new_group(backend="gloo", timeout=timedelta(seconds=patience))

    def tell(self, order: Mapping[str, Any], parts: Sequence[bytes] = ()) -> None:
        """Rank 0: send an order with its parts. JSON may hold NaN, which an advantage can be."""
        head = json.dumps({**order, "parts": [len(part) for part in parts]}).encode()
        body = bytearray(b"".join([head, *parts]))
        with _peers():
            dist.broadcast(torch.tensor([len(head), len(body)]), 0, group=self._group)
            dist.broadcast(torch.frombuffer(body, dtype=torch.uint8), 0, group=self._group)

    def hear(self) -> tuple[dict[str, Any], list[bytes]]:
        """The others: wait for the next order and its parts."""
        lengths = torch.zeros(2, dtype=torch.int64)
        with _peers():
            dist.broadcast(lengths, 0, group=self._group)
            head_length, length = map(int, lengths)
            body = bytearray(length)
            dist.broadcast(torch.frombuffer(body, dtype=torch.uint8), 0, group=self._group)
        order: dict[str, Any] = json.loads(body[:head_length])
        ends = accumulate(order.pop("parts"), initial=head_length)
        return order, [bytes(body[start:end]) for start, end in pairwise(ends)]


@contextmanager
def _peers() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainerLost(f"another rank is gone: {error}") from None
