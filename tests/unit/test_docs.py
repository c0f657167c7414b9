"""The reference pages are what their sources say, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adcaptum.engine import METHODS
from docs.generators.pages import OPENAPI, REFERENCE, SERVED, pages

ROOT = Path(__file__).parents[2]
WRITTEN = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")]
    if not {"node_modules", "build"} & set(path.relative_to(ROOT).parts)
]


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_reference_page_is_current(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == pages()[name], f"{name} is out of date: run `make docs-reference`"


def test_the_served_openapi_document_is_that_of_the_reference() -> None:
    assert SERVED.read_text(encoding="utf-8") == pages()[OPENAPI]


def test_every_method_has_its_place_in_the_reference() -> None:
    page = pages()["methods.md"]
    for name in METHODS:
        assert f"{{ #{name} }}" in page, name


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place = target.split("#")[0]
        if place and not re.match(r"[a-z]+:", place):
            assert (path.parent / place).exists(), f"{path}: {target}"
