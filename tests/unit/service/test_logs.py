from adcaptum.service.logs import BURST, MOST_KINDS, PER_SECOND, RateLimit


def test_a_burst_of_one_kind_passes_and_then_a_few_a_second() -> None:
    limit = RateLimit()
    assert [limit.allow("request", 0.0) for _ in range(BURST)] == [0] * BURST
    assert limit.allow("request", 0.0) is None
    assert limit.allow("request", 0.0) is None
    assert limit.allow("loaded", 0.0) == 0
    assert limit.allow("request", 1 / PER_SECOND) == 2
    assert limit.allow("request", 1 / PER_SECOND) is None


def test_kinds_beyond_the_bound_share_one_bucket() -> None:
    limit = RateLimit()
    allowed = [limit.allow(f"kind {number}", 0.0) for number in range(MOST_KINDS + 10 * BURST)]
    assert allowed.count(0) == MOST_KINDS + BURST
