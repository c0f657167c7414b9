"""The site is built strictly, links lead somewhere, and a reader's browser fetches nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.integration.docs.pages import ROOT


class Page(HTMLParser):
    """The links, anchors and resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") in {"stylesheet", "icon", "preload"}:
            self.resources.append(given["href"])
        elif "src" in given:
            self.resources.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages of the site, freshly built."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = sorted(folder.rglob("*.html"))
    return {path: Page(path.read_text(encoding="utf-8")) for path in found}


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        for resource in page.resources:
            assert not urlsplit(resource).netloc, f"{path.name} fetches {resource}"


@pytest.mark.slow
def test_links_and_anchors_lead_somewhere(site: dict[Path, Page]) -> None:
    lost = []
    for path, page in site.items():
        if path.name == "404.html":  # its links are absolute
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                lost.append(f"{path.name}: {link}")
            elif parts.fragment and target in site:
                anchors = site[target].anchors
                if unquote(parts.fragment) not in anchors | {"__skip"}:
                    lost.append(f"{path.name}: {link}")
    assert not lost, lost


@pytest.mark.slow
def test_the_reference_shows_the_public_names(site: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for page in site.values()))
    for name in (
        "adcaptum.client.Client",
        "adcaptum.client.Explanation",
        "adcaptum.engine.explain",
        "adcaptum.engine.Explicand",
        "adcaptum.attr.IntegratedGradients",
        "adcaptum.metrics.compare",
        "adcaptum.robust.PGD",
    ):
        assert any(anchor.endswith(name) for anchor in anchors), name
