#!/usr/bin/env python3
"""Write Grafana's dashboard from panels.toml: ``python deploy/grafana/dashboard.py``.

The panels are said in panels.toml, and what Grafana wants around each of them is said once, here.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
TARGET = FOLDER / "dashboards" / "adcaptum.json"

COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
INSTANT = {"stat", "bargauge"}  # kinds that show one number, of now

Json = dict[str, Any]


def text() -> str:
    """The dashboard as it is committed."""
    source = tomllib.loads((FOLDER / "panels.toml").read_text(encoding="utf-8"))
    return json.dumps(dashboard(source), indent=1, ensure_ascii=False) + "\n"


def dashboard(source: Json) -> Json:
    """Grafana's model of the whole dashboard."""
    return {
        "uid": "adcaptum",
        "title": "adcaptum",
        "description": "Predictions and explanations: how many, how fast, how full, how exact.",
        "tags": ["adcaptum"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": list(variables())},
        "annotations": {"list": []},
        "links": [],
        "panels": list(panels(source)),
    }


def variables() -> Iterator[Json]:
    """The choices above the panels."""
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    }
    yield variable("job", "Job", "label_values(adcaptum_model_ready, job)")
    yield variable("model", "Model", 'label_values(adcaptum_model_ready{job=~"$job"}, model)')
    yield variable("rpc", "Rpc", 'label_values(adcaptum_requests_in_flight{job=~"$job"}, rpc)')


def variable(name: str, label: str, query: str) -> Json:
    """The choice of some values of a label. All stands for everything, also for what has none."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def panels(source: Json) -> Iterator[Json]:
    """All rows and panels, laid out from left to right and then down."""
    identifier = y = 0
    for row in source["row"]:
        identifier += 1
        position = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {
            "id": identifier,
            "type": "row",
            "title": row["title"],
            "collapsed": False,
            "gridPos": position,
            "panels": [],
        }
        y += 1
        x = height = 0
        for panel in row["panel"]:
            identifier += 1
            width, panel_height = panel.get("size", (8, 8))
            if x + width > COLUMNS:
                x, y, height = 0, y + height, 0
            height = max(height, panel_height)
            position = {"x": x, "y": y, "w": width, "h": panel_height}
            yield panel_model(panel, source["where"], identifier, position)
            x += width
        y += height


def panel_model(panel: Json, where: dict[str, str], identifier: int, position: Json) -> Json:
    """Grafana's model of a panel."""
    kind = panel.get("kind", "timeseries")
    steps = [
        {"color": color, "value": value[0] if value else None}
        for color, *value in panel.get("colors", [["green"]])
    ]
    return {
        "id": identifier,
        "type": kind,
        "title": panel["title"],
        "description": panel["text"],
        "datasource": DATASOURCE,
        "gridPos": position,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": expr,
                "legendFormat": legend or "__auto",
                "instant": kind in INSTANT,
                "range": kind not in INSTANT,
            }
            for number, (expr, legend) in enumerate(queries(panel, where))
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.get("unit", "short"),
                "min": 0,
                "noValue": "none",
                "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": custom(kind, stacked=panel.get("stacked", False)),
            },
            "overrides": [],
        },
        "options": options(kind),
    }


def queries(panel: Json, where: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The PromQL of a panel, each with its legend."""
    if "expr" in panel:
        yield panel["expr"], panel.get("legend", "")
        return

    by = panel.get("by", [])
    legend = " ".join(f"{{{{{label}}}}}" for label in by)

    def rate(metric: str, *labels: str) -> str:
        grouped = f" by ({', '.join((*by, *labels))}) " if (*by, *labels) else ""
        return f"sum{grouped}(rate({metric}{{{where[panel['where']]}}}[$__rate_interval]))"

    if metric := panel.get("rate"):
        yield rate(metric), legend
    elif metric := panel.get("mean"):
        yield f"{rate(f'{metric}_sum')} / {rate(f'{metric}_count')}", legend
    else:
        buckets = rate(f"{panel['quantiles']}_bucket", "le")
        for quantile in panel.get("of", (0.5, 0.9, 0.99)):
            yield f"histogram_quantile({quantile}, {buckets})", f"{legend} p{quantile * 100:g}"


def custom(kind: str, *, stacked: bool) -> Json:
    """Returns the field settings of a kind of panel."""
    match kind:
        case "timeseries":
            return {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 30 if stacked else 0,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            }
        case "state-timeline":
            return {"fillOpacity": 70, "lineWidth": 0}
        case _:
            return {}


def options(kind: str) -> Json:
    """Returns the options of a kind of panel beside its fields."""
    reduce = {"values": False, "calcs": ["lastNotNull"], "fields": ""}
    match kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "state-timeline":
            return {
                "mergeValues": True,
                "showValue": "never",
                "rowHeight": 0.9,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
                "tooltip": {"mode": "single", "sort": "none"},
            }
        case "bargauge":
            return {"reduceOptions": reduce, "orientation": "horizontal", "displayMode": "basic"}
        case _:
            return {
                "reduceOptions": reduce,
                "colorMode": "value",
                "graphMode": "none",
                "textMode": "auto",
                "justifyMode": "auto",
                "orientation": "auto",
            }


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
