"""How times, spans and amounts are written."""

import pytest

from bellwire.web.dashboard.bodies import PRETTY_LIMIT, read_body, read_headers, read_timings
from bellwire.web.dashboard.words import ago, clock, iso, permille, short_id, span, usd, utc

AT = 1_795_466_821_120  # 2026-11-23 20:47:01.120 UTC


def test_times() -> None:
    assert iso(AT) == "2026-11-23T20:47:01.120Z"
    assert utc(AT) == "2026-11-23 20:47:01.120 UTC"
    assert clock(AT, AT) == "20:47:01"
    assert clock(AT, AT + 86_400_000) == "Nov 23 20:47"
    assert clock(AT, AT + 400 * 86_400_000) == "2026-11-23"
    assert utc(10**18).startswith("9999-12-31")


@pytest.mark.parametrize(
    ("away_ms", "text"),
    [(0, "now"), (999, "now"), (12_345, "12s ago"), (60_000, "1m ago"), (7_200_000, "2h ago"), (-240_000, "in 4m")],
)
def test_ago(away_ms: int, text: str) -> None:
    assert ago(AT - away_ms, AT) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_240, "1.24 s"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
        (86_400_000, "1 d"),
    ],
)
def test_span(ms: int, text: str) -> None:
    assert span(ms) == text


def test_amounts_and_ids() -> None:
    assert [usd(9_990_000), usd(-9_990_000), usd(5_000)] == ["$9.99", "-$9.99", "$0.01"]
    assert [permille(1000), permille(996), permille(0)] == ["100 %", "99.6 %", "0 %"]
    assert short_id("user_1") == "user_1"
    assert short_id("$RCAnonymousID:0123456789abcdef0123456789abcdef") == "$RCAn…abcdef"


def test_json_is_indented_and_everything_else_stays_as_it_came() -> None:
    body = read_body(b'{"b":1.50,"a":"<i>","c":[true,null]}')
    assert body is not None
    assert body.raw == '{"b":1.50,"a":"<i>","c":[true,null]}'
    assert body.pretty is not None
    assert "1.50" in body.pretty
    assert "&lt;i&gt;" in body.pretty
    assert body.pretty.index("&#34;b&#34;") < body.pretty.index("&#34;a&#34;")
    for raw in (b"plain", b"{broken", b"[" * 100_000, b'{"a":"' + b"x" * PRETTY_LIMIT + b'"}', b"\xff\xfe"):
        shown = read_body(raw)
        assert shown is not None
        assert shown.pretty is None
    assert read_body(b"") is None
    assert read_body(None) is None


def test_headers_that_carry_credentials_are_masked_whoever_stored_them() -> None:
    stored = '{"Authorization": "Bearer x", "Cookie": "a=b", "X-Other": "shown"}'
    assert dict(read_headers(stored)) == {"Authorization": "••••••••", "Cookie": "••••••••", "X-Other": "shown"}
    assert read_headers(None) == read_headers("[]") == read_headers("{") == []


def test_timings() -> None:
    assert read_timings('{"dns": 1, "total": 9}') == [("dns", 1), ("total", 9)]
    assert read_timings("{") == []
