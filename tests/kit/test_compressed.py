"""Unpacking never gives more than its limit and never raises."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from bellwire.kit.compressed import decompress


def test_gzip_and_both_kinds_of_deflate() -> None:
    bare = zlib.compressobj(wbits=-15)
    assert decompress(gzip.compress(b"hello"), "gzip", 100) == (b"hello", False)
    assert decompress(gzip.compress(b"hello"), " GZIP ", 100) == (b"hello", False)
    assert decompress(zlib.compress(b"hello"), "deflate", 100) == (b"hello", False)
    assert decompress(bare.compress(b"hello") + bare.flush(), "deflate", 100) == (b"hello", False)


def test_members_one_after_the_other() -> None:
    assert decompress(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip", 100) == (b"one two", False)


def test_a_bomb_is_cut() -> None:
    unpacked, cut = decompress(gzip.compress(b"\0" * 10_000_000), "gzip", 1000)
    assert (len(unpacked), cut) == (1000, True)


def test_what_was_cut_on_the_wire_is_unpacked_as_far_as_it_goes() -> None:
    unpacked, cut = decompress(gzip.compress(b"hello" * 1000, compresslevel=0)[:2000], "gzip", 100_000)
    assert unpacked.startswith(b"hellohello")
    assert not cut


def test_unknown_and_broken_come_back_as_they_are() -> None:
    assert decompress(b"abc", "br", 100) == (b"abc", False)
    assert decompress(b"abc", "", 100) == (b"abc", False)
    assert decompress(b"abc", "gzip", 100) == (b"abc", False)


@given(st.binary(), st.sampled_from(["gzip", "deflate", "x-gzip", "br", ""]), st.integers(0, 64))
def test_any_bytes(raw: bytes, encoding: str, limit: int) -> None:
    decompress(raw, encoding, limit)


@given(st.lists(st.binary(max_size=50), max_size=4), st.integers(0, 64))
def test_any_members_within_any_limit(parts: list[bytes], limit: int) -> None:
    whole = b"".join(parts)
    packed = b"".join(gzip.compress(part) for part in parts)
    assert decompress(packed, "gzip", limit) == (whole[:limit], len(whole) > limit)
