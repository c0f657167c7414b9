"""What a caller may have meant."""

import difflib
import tracemalloc
from typing import Any

import pytest

from adcaptum.service.nearest import MOST_COMPARED, did_you_mean, nearest, shortened


def test_the_nearest_name_comes_first() -> None:
    assert nearest("cels", ["digits", "cells", "cell"])[0] in {"cells", "cell"}


def test_case_does_not_matter() -> None:
    assert nearest("CELLS", ["cells"]) == ("cells",)


def test_where_nothing_is_near_all_are_told() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "There are 'a', 'b'."


def test_a_single_name_is_told_as_one() -> None:
    assert did_you_mean("2", ["1"]) == "There is only '1'."


def test_where_there_is_nothing_that_is_told() -> None:
    assert did_you_mean("zzz", []) == "There are none."


def test_long_values_are_cut() -> None:
    assert len(shortened("x" * 1000)) == 80


@pytest.mark.parametrize("value", ["x" * (60 << 20), b"x" * (60 << 20)])
def test_only_the_shown_part_of_a_callers_text_is_formed(value: str | bytes) -> None:
    # Its whole form would take three times its memory, and all threads would wait for it.
    tracemalloc.start()
    try:
        text = shortened(value)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()
    assert len(text) == 80
    assert text.endswith("x...")


def test_few_of_a_thousand_names_are_compared_letter_by_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []
    original = difflib.get_close_matches

    def counted(word: str, possibilities: list[str], **options: Any) -> list[str]:
        compared.append(len(possibilities))
        return original(word, possibilities, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    names = [f"label number {number} of the many" for number in range(1000)]
    assert nearest("lable number 512 of teh many", names)[0] == "label number 512 of the many"
    assert compared == [MOST_COMPARED]


def test_a_name_of_a_megabyte_is_compared_by_its_beginning() -> None:
    assert nearest("z" * (1 << 20), ["cells", "digits"]) == ()
