"""Grafana's dashboard."""

import itertools
import json
import runpy
from pathlib import Path
from typing import Any


def test_the_committed_dashboard_is_what_the_script_writes(repository: Path) -> None:
    script = runpy.run_path(str(repository / "deploy/grafana/dashboard.py"))
    assert script["TARGET"].read_text(encoding="utf-8") == script["text"]()


def test_every_panel_says_what_it_shows(panels: list[dict[str, Any]]) -> None:
    assert all(panel["description"].endswith(".") for panel in panels)


def test_titles_and_numbers_are_unique(panels: list[dict[str, Any]]) -> None:
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_panels_neither_overlap_nor_leave_the_page(repository: Path) -> None:
    text = (repository / "deploy/grafana/dashboards/adcaptum.json").read_text(encoding="utf-8")
    cells = [
        {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        for place in (panel["gridPos"] for panel in json.loads(text)["panels"])
    ]
    assert all(x < 24 for panel in cells for x, _ in panel)
    assert not any(one & other for one, other in itertools.combinations(cells, 2))


def test_every_panel_asks_the_chosen_data_source(panels: list[dict[str, Any]]) -> None:
    asked = {
        target["datasource"]["uid"] for panel in panels for target in (panel, *panel["targets"])
    }
    assert asked == {"${datasource}"}


def test_every_query_of_a_panel_has_a_letter_of_its_own(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))


def test_every_series_of_the_server_is_shown(
    panels: list[dict[str, Any]], exposed: dict[str, frozenset[str]]
) -> None:
    shown = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    families = {name.removesuffix("_bucket") for name in exposed if not is_part(name, exposed)}
    assert [family for family in sorted(families) if family not in shown] == []


def is_part(name: str, exposed: dict[str, frozenset[str]]) -> bool:
    """Whether a series is a histogram's count or sum."""
    return name.endswith(("_count", "_sum")) and f"{name.rsplit('_', 1)[0]}_bucket" in exposed
