"""Token buckets: fair, exact, forgetful; and whose address counts as whose."""

import pytest

from bellwire.kit import buckets
from bellwire.kit.buckets import Buckets, Proxies, household


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_and_then_the_rate() -> None:
    time = Time()
    bucket = Buckets(2.0, 4, clock=time)
    assert [bucket.take("a") for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]
    assert bucket.take("b") == 0.0
    time.now_s += 0.5
    assert (bucket.take("a"), bucket.take("a")) == (0.0, 0.5)
    time.now_s += 3600
    assert [bucket.take("a") for _ in range(5)][3:] == [0.0, 0.5]


def test_asking_in_vain_costs_nothing() -> None:
    time = Time()
    bucket = Buckets(1.0, 1, clock=time)
    bucket.take("a")
    for _ in range(100):
        assert bucket.take("a") == 1.0
    time.now_s += 1
    assert bucket.take("a") == 0.0


def test_no_rate_no_limit() -> None:
    bucket = Buckets(0, 0)
    assert [bucket.take("a") for _ in range(100)] == [0.0] * 100
    assert len(bucket) == 0


def test_strangers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MAX_KEYS", 100)
    bucket = Buckets(0.001, 1)
    for number in range(10_000):
        bucket.take(str(number))
    assert len(bucket) == 100
    assert bucket.take("9999") > 0


def test_households() -> None:
    assert household("192.0.2.1") == household("::ffff:192.0.2.1") == "192.0.2.1"
    assert household("2001:db8::1") == household("2001:db8::ffff:1%eth0") != household("2001:db8:0:1::1")
    assert len(household("x" * 10_000)) == 254


def test_proxies_hide_whom_they_speak_for() -> None:
    proxies = Proxies("127.0.0.1, ::1,10.0.0.0/8, unix:")
    for address in ("127.0.0.1", "::1", "10.1.2.3", "unix:", "", None, "no address"):
        assert proxies.hide(address), address
    for address in ("192.0.2.1", "127.0.0.2", "2001:db8::1"):
        assert not proxies.hide(address), address
    assert not Proxies("").hide("127.0.0.1")
