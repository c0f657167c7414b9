"""Reasons for which models do not serve: no absolute paths, bounded."""

import pytest

from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.failure_reason import MOST, failure_reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeclarationError("cells/model.toml: no shape"), "cells/model.toml: no shape"),
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (
            FileNotFoundError(2, "No such file", "/srv/models/cells/x.bin"),
            "FileNotFoundError: [Errno 2] No such file: 'x.bin'",
        ),
        (ImportError("cannot import a (/srv/a b/c.py)"), "ImportError: cannot import a (a b/c.py)"),
        (OSError(r"C:\models\cells\x.bin is broken"), "OSError: x.bin is broken"),
        (
            RuntimeError("size 3/4, see https://host/a/b"),
            "RuntimeError: size 3/4, see https://host/a/b",
        ),
        (RuntimeError("mat1 and mat2 (4x30 / 3x2)"), "RuntimeError: mat1 and mat2 (4x30 / 3x2)"),
    ],
)
def test_a_reason_names_no_folder_of_the_server(error: Exception, expected: str) -> None:
    assert failure_reason(error) == expected


def test_a_reason_is_bounded() -> None:
    assert len(failure_reason(ValueError("x" * 10 * MOST))) == MOST
