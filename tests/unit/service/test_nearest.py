"""What a caller may have meant."""

from adcaptum.service.nearest import did_you_mean, nearest, shortened


def test_the_nearest_name_comes_first() -> None:
    assert nearest("cels", ["digits", "cells", "cell"])[0] in {"cells", "cell"}


def test_case_does_not_matter() -> None:
    assert nearest("CELLS", ["cells"]) == ("cells",)


def test_where_nothing_is_near_all_are_told() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "There are 'a', 'b'."


def test_where_there_is_nothing_that_is_told() -> None:
    assert did_you_mean("zzz", []) == "There are none."


def test_long_values_are_cut() -> None:
    assert len(shortened("x" * 1000)) == 80
