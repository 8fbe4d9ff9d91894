"""Remembers what a judge of mathematics has decided, in a fixed room however long the answers."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

from rewards.answers.judging.time_budget import OutOfTime

Judge = Callable[[str, str], bool]
"""Decides whether two answers mean the same, within some deadline of its own. May raise
OutOfTime."""

_MOST = 65_536
_DIGEST_BYTES = 16


class Verdicts:
    """The last verdicts of a judge, by a digest of the pair. Thread-safe if the judge is."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, first: str, second: str) -> bool:
        """Whether they are the same; where there is no time left to say so, they are not."""
        pair = f"{len(first)}:{first}{second}".encode(errors="surrogatepass")
        key = hashlib.blake2b(pair, digest_size=_DIGEST_BYTES).digest()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        try:
            verdict = self._judge(first, second)
        except OutOfTime:
            return False
        with self._lock:
            self._known[key] = verdict
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return verdict
