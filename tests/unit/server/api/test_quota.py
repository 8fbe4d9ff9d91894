"""Quotas: what is taken when, and what is put back."""

import pytest

from server.api import quota
from server.api.quota import Bucket, OverQuota, Quota


def test_a_quota_fills_up_again(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(quota.time, "monotonic", lambda: now)
    bucket = Bucket(per_minute=60)
    bucket.take(59)
    assert bucket.wait() == 0
    bucket.take(1)
    assert bucket.wait() == pytest.approx(1)
    bucket.take(30)
    assert bucket.wait() == pytest.approx(31)
    now += 31
    assert bucket.wait() == 0


def test_tokens_are_reserved_at_once_and_settled_by_what_was_used() -> None:
    limited = Quota(None, 100)
    bill = limited.open(1_500)
    with pytest.raises(OverQuota) as over:
        limited.open(1)
    assert over.value.seconds == pytest.approx(1_401 * 0.6, rel=0.01)
    bill.add(30)
    bill.add(20)
    bill.close()
    bill.close()
    limited.open(49).close()
    limited.open(1_000)
    with pytest.raises(OverQuota):
        limited.open(1)


def test_a_refusal_takes_nothing() -> None:
    limited = Quota(2, 100)
    bill = limited.open(1_000)
    for _ in range(5):
        with pytest.raises(OverQuota):
            limited.open(1)
    bill.close()  # it used nothing
    limited.open(1)
    with pytest.raises(OverQuota):
        limited.open(1)  # the third request


def test_without_limits_all_is_counted_and_nothing_refused() -> None:
    bill = Quota(None, None).open(10**9)
    bill.add(7)
    bill.close()
    assert bill.used == 7
