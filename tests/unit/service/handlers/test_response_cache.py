"""Answers that are kept."""

import random

from adcaptum.service.handlers.response_cache import ENTRY_BYTES, ResponseCache
from adcaptum.service.metrics import Metrics


def cache(nbytes: int = 1 << 20, entries: int = 100) -> tuple[ResponseCache, Metrics]:
    metrics = Metrics()
    return ResponseCache(nbytes, entries, metrics), metrics


def test_those_longest_not_asked_for_go_first() -> None:
    kept, metrics = cache(entries=2)
    kept.put(b"a", b"1")
    kept.put(b"b", b"2")
    assert kept.get(b"a") == b"1"
    kept.put(b"c", b"3")
    assert (kept.get(b"a"), kept.get(b"b"), kept.get(b"c")) == (b"1", None, b"3")
    assert metrics.registry.get_sample_value("adcaptum_cache_evictions_total") == 1


def test_what_is_larger_than_all_that_may_be_kept_drives_nothing_out() -> None:
    kept, _ = cache(nbytes=1000)
    kept.put(b"a", b"1")
    kept.put(b"b", b"2" * 1000)
    assert (kept.get(b"a"), kept.get(b"b")) == (b"1", None)


def test_nothing_is_kept_where_nothing_may_be() -> None:
    for kept, _ in (cache(nbytes=0), cache(entries=0)):
        kept.put(b"a", b"1")
        assert kept.get(b"a") is None


def test_memory_and_number_are_bounded_whatever_comes() -> None:
    kept, metrics = cache(nbytes=5000, entries=8)
    chance, known = random.Random(0), dict[bytes, bytes]()
    for _ in range(3000):
        key, answer = bytes([chance.randrange(20)]), bytes(chance.randrange(3000))
        kept.put(key, answer)
        known[key] = answer
        assert kept.nbytes <= 5000
        assert len(kept) <= 8
        held = [kept.get(bytes([each])) for each in range(20)]
        sizes = [len(each) + ENTRY_BYTES for each in held if each is not None]
        assert (sum(sizes), len(sizes)) == (kept.nbytes, len(kept))
        assert all(each in {None, known.get(bytes([i]))} for i, each in enumerate(held))
    assert metrics.registry.get_sample_value("adcaptum_cache_bytes") == kept.nbytes
