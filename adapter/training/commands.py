"""Commands from rank 0 to the other ranks: JSON and bytes, never a pickle."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.distributed as dist

from adapter.trainer import TrainerLost


class Commands:
    """A channel from rank 0 to all others, over gloo whatever the devices are. Both ends raise
    TrainerLost when the other is gone or silent for `patience` seconds."""

    def __init__(self, patience: float) -> None:
        self._group: Any = dist.new_group(backend="gloo", timeout=timedelta(seconds=patience))

    def send(self, command: Mapping[str, Any], parts: Sequence[bytes] = ()) -> None:
        """Rank 0: send a command and its parts. JSON may hold NaN, which an advantage can be."""
        head = json.dumps({**command, "parts": [len(part) for part in parts]}).encode()
        body = bytearray(b"".join([head, *parts]))
        with _peers():
            dist.broadcast(torch.tensor([len(head), len(body)]), 0, group=self._group)
            dist.broadcast(torch.frombuffer(body, dtype=torch.uint8), 0, group=self._group)

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        """The others: wait for the next command and its parts."""
        lengths = torch.zeros(2, dtype=torch.int64)
        with _peers():
            dist.broadcast(lengths, 0, group=self._group)
            head_length, length = map(int, lengths)
            body = bytearray(length)
            dist.broadcast(torch.frombuffer(body, dtype=torch.uint8), 0, group=self._group)
        command: dict[str, Any] = json.loads(body[:head_length])
        ends = accumulate(command.pop("parts"), initial=head_length)
        return command, [bytes(body[start:end]) for start, end in pairwise(ends)]


@contextmanager
def _peers() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainerLost(f"another rank is gone: {error}") from None
