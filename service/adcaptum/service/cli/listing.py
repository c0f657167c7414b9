"""Models in a terminal: a table of all, or one in full."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adcaptum.client import (
    LayerInfo,
    ModelInfo,
    ModelState,
    Placement,
    Preset,
    Spec,
    VersionInfo,
    WorkerInfo,
    WorkerState,
)

UNBROKEN: Final = 10_000
"""Characters of a line in a pipe or a file, where nothing wraps."""

_STATE_STYLES = {
    ModelState.READY: "green",
    ModelState.LOADING: "yellow",
    ModelState.UNLOADING: "yellow",
    ModelState.UNLOADED: "dim",
}


def show(table: Table) -> None:
    """Print a table as wide as the terminal; in a pipe or a file each row on one line, for grep."""
    fixed = sys.stdout.isatty() or os.environ.get("COLUMNS")
    Console(width=None if fixed else UNBROKEN).print(table)


def models_table(models: Iterable[ModelInfo]) -> Table:
    """List models, one version a line; a star marks the default version."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "version", "state", "input", "presets", "device", "description"):
        table.add_column(title, overflow="fold")
    for model in models:
        for place, version in enumerate(model.versions):
            devices = dict.fromkeys(each.device for each in version.placements)
            table.add_row(
                Text("" if place else model.name),
                Text(_version(model, version)),
                Text(version.state, style=_STATE_STYLES.get(version.state, "red")),
                Text(", ".join(each.kind for each in version.inputs)),
                Text(", ".join(each.name for each in version.presets)),
                Text(", ".join(devices)),
                Text(_trouble(version) or ("" if place else model.description)),
            )
        if not model.versions:
            table.add_row(Text(model.name), *[Text()] * 5, Text(model.description))
    return table


def workers_table(workers: Iterable[WorkerInfo]) -> Table:
    """List workers, one a line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("worker", "device", "state", "pid", "restarts", "memory", "models", "last end"):
        table.add_column(title, overflow="fold")
    for each in workers:
        table.add_row(
            Text(each.id),
            Text(each.device),
            Text(each.state, style="green" if each.state is WorkerState.READY else "yellow"),
            Text(str(each.pid or "")),
            Text(str(each.restarts)),
            Text(f"{each.memory_bytes / (1 << 20):.0f} MiB" if each.memory_bytes else ""),
            Text(", ".join(each.models)),
            Text(each.reason),
        )
    return table


def model_view(model: ModelInfo) -> Table:
    """Describe one model with all its versions; in full the default one."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, text in _facts(model):
        table.add_row(title, Text(text))
    return table


def _version(model: ModelInfo, version: VersionInfo) -> str:
    """Return the name of a version with its aliases."""
    name = version.identity.version
    star = "*" if name and name == model.default_version else ""
    aliases = [alias for alias, at in model.aliases.items() if at == name]
    return f"{name}{star}" + (f" ({', '.join(aliases)})" if aliases else "")


def _trouble(version: VersionInfo) -> str:
    """Return why a version does not serve, or why it goes on as it was loaded earlier."""
    failure = version.load_failure
    return version.reason or (f"not loaded anew: {failure}" if failure else "")


def _facts(model: ModelInfo) -> Iterator[tuple[str, str]]:
    yield "model", model.name
    if model.description:
        yield "description", model.description
    for each in model.versions:
        trouble = _trouble(each)
        reason = f": {trouble}" if trouble else ""
        yield "version", f"{_version(model, each)}, {each.state}{reason}".removeprefix(", ")
    # Of a version that has not been read, nothing else is known.
    if model.versions and model.default.inputs:
        yield from _version_facts(model.default)


def _version_facts(version: VersionInfo) -> Iterator[tuple[str, str]]:
    yield "digest", version.identity.digest
    for each in version.inputs:
        named = f", {len(each.features)} features" if each.features else ""
        baselines = f"; baselines: {', '.join(each.baselines)}" if each.baselines else ""
        rows = f"; background set of {each.background_rows} rows" if each.background_rows else ""
        shape = f"{each.datatype} {list(each.shape)}"
        yield "input", f"{each.name}: {each.kind}, {shape}{named}{baselines}{rows}"
    for output in version.outputs:
        named = f", {len(output.labels)} labels" if output.labels else ""
        yield "output", f"{output.name}: {output.kind}, {list(output.shape)}{named}"
    for preset in version.presets:
        yield "preset", _preset(preset, default=preset.name == version.default_preset)
    for placement in version.placements:
        yield "placement", _placement(placement)
    if version.accuracy is not None:
        yield "accuracy", f"{version.accuracy:.1%}"
    limits = version.limits
    yield "limits", f"{limits.max_rows} rows, {limits.max_examples} examples"
    if version.layers:
        yield "layers", "\n".join(_layer(each) for each in version.layers)


def _preset(preset: Preset, *, default: bool) -> str:
    text = f"{preset.name}*" if default else preset.name
    about = f": {preset.description}" if preset.description else ""
    return f"{text}{about} [{_question(preset.spec)}]"


def _question(spec: Spec) -> str:
    """Return the methods of a question, its tolerance and its budget, in short."""
    methods = spec.methods or ()
    several = [methods] if isinstance(methods, str) or not isinstance(methods, list) else methods
    parts = [str(each) for each in several]
    if spec.tolerance is not None:
        parts.append(f"tolerance {spec.tolerance:g}")
    if spec.max_rows is not None:
        parts.append(f"at most {spec.max_rows} rows")
    return ", ".join(parts)


def _placement(placement: Placement) -> str:
    reason = f": {placement.reason}" if placement.reason else ""
    variant = f", {placement.variant}" if placement.variant else ""
    return f"worker {placement.worker} on {placement.device}, {placement.state}{reason}{variant}"


def _layer(layer: LayerInfo) -> str:
    alias = f" = {layer.alias}" if layer.alias else ""
    shape = f" {list(layer.shape)}" if layer.shape else ""
    return f"{layer.name}{alias} ({layer.type}){shape}"
