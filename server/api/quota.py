"""Quotas of keys: checked and taken in one step, settled by what was really used."""

import time


class OverQuota(Exception):
    """The quota allows no request now, but in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"over the quota for {seconds:.1f} s")
        self.seconds = seconds


class Bucket:
    """A token bucket: a minute's worth of something, refilled steadily."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute, self._most = per_minute, max(1.0, per_minute)
        self._level, self._at = self._most, time.monotonic()

    def wait(self) -> float:
        """Seconds until there is one in it: 0 if there is."""
        now = time.monotonic()
        refilled = self._level + (now - self._at) * self._per_minute / 60
        self._level, self._at = min(self._most, refilled), now
        return max(0.0, (1.0 - self._level) * 60 / self._per_minute)

    def take(self, amount: float) -> None:
        """Use some, or with a negative amount put some back. The level may fall below zero, and
        must rise to one before more is given."""
        self._level -= amount


class Bill:
    """Tokens of one request: `reserved` when it is let in, replaced by those `used` when it is
    over, however it ends. Close it once."""

    def __init__(self, bucket: Bucket | None, reserved: int) -> None:
        self._bucket, self._reserved = bucket, reserved
        self.used = 0
        if bucket is not None:
            bucket.take(reserved)

    def add(self, tokens: int) -> None:
        """Count tokens that were used."""
        self.used += tokens

    def close(self) -> None:
        """Settle."""
        if self._bucket is not None:
            self._bucket.take(self.used - self._reserved)
            self._bucket = None


class Quota:
    """What a key may use in a minute; None is no limit."""

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._requests, self._tokens = (
            None if limit is None else Bucket(limit) for limit in (requests, tokens)
        )

    def require(self) -> None:
        """Raise OverQuota if a request would not be let in now, whatever it asks."""
        buckets = [bucket for bucket in (self._requests, self._tokens) if bucket is not None]
        if wait := max((bucket.wait() for bucket in buckets), default=0.0):
            raise OverQuota(wait)

    def count(self) -> None:
        """Count a request that takes no tokens."""
        if self._requests is not None:
            self._requests.take(1)

    def open(self, tokens: int) -> Bill:
        """Let a request in that will take about so many tokens. Raises OverQuota, with nothing
        taken."""
        self.require()
        self.count()
        return Bill(self._tokens, tokens)
