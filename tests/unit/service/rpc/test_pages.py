"""Pages of lists."""

import pytest

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.rpc import pages

NAMES = ["b", "c", "a", "e/é", "d"]


def page(size: int, token: str = "", names: list[str] | None = None) -> tuple[list[str], str]:
    shown, following = pages.page(names or NAMES, str, size, token, "models")
    return list(shown), following


def test_pages_together_are_the_whole_list_in_order() -> None:
    found, token = page(2)
    while token:
        more, token = page(2, token)
        assert 1 <= len(more) <= 2
        found += more
    assert found == sorted(NAMES)


def test_the_last_page_has_no_successor() -> None:
    assert page(5) == (sorted(NAMES), "")
    assert page(0) == (sorted(NAMES), "")


def test_a_list_may_change_between_two_pages() -> None:
    _, token = page(2)
    # The name at which the first page ended has gone, and another has come before it.
    assert page(2, token, ["a", "aa", "c", "d"]) == (["c", "d"], "")


def test_sizes_beyond_the_largest_stand_for_it() -> None:
    many = [f"{index:05}" for index in range(2500)]
    assert [len(page(size, names=many)[0]) for size in (0, 1, 1000, 1001, 2**31 - 1)] == [
        pages.USUAL,
        1,
        pages.MOST,
        pages.MOST,
        pages.MOST,
    ]


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"page_size: -1; must be from 0 to 1000") as caught:
        page(-1)
    assert caught.value.reason is Reason.FIELD_INVALID


def test_texts_that_are_no_tokens_are_refused() -> None:
    _, token = page(2)
    _, other = pages.page(NAMES, str, 2, "", "methods")
    for wrong in ("a", "b", "!", "models", token + "=", token[:-1], token + "A", other, "é", "  "):
        with pytest.raises(InvalidRequest, match="must be the next_page_token of a page of") as e:
            page(2, wrong)
        assert e.value.violations[0].field == "page_token"
        assert e.value.reason is Reason.FIELD_INVALID
