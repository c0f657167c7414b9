"""Models in a terminal: a table of all, or one in full."""

from collections.abc import Iterable, Iterator

from rich.table import Table
from rich.text import Text

from adcaptum.client import LayerInfo, LayoutInfo, ModelInfo, ModelState

_STATE_STYLES = {ModelState.READY: "green", ModelState.LOADING: "yellow"}


def models_table(models: Iterable[ModelInfo]) -> Table:
    """List models, one a line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "version", "state", "input", "device", "description"):
        table.add_column(title, overflow="fold")
    for model in models:
        state = Text(model.state, style=_STATE_STYLES.get(model.state, "red"))
        inputs = ", ".join(each.kind for each in model.inputs)
        table.add_row(
            Text(model.identity.name),
            Text(model.identity.version),
            state,
            Text(inputs),
            Text(model.device),
            Text(model.reason or model.description),
        )
    return table


def model_view(model: ModelInfo) -> Table:
    """Describe one model."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, told in _facts(model):
        table.add_row(title, Text(told))
    return table


def _facts(model: ModelInfo) -> Iterator[tuple[str, str]]:
    yield "model", f"{model.identity.name} {model.identity.version} ({model.state})"
    if model.reason:
        yield "reason", model.reason
    if model.description:
        yield "description", model.description
    yield "versions", ", ".join(model.versions)
    if model.aliases:
        yield "aliases", ", ".join(f"{name} = {at}" for name, at in model.aliases.items())
    for each in model.inputs:
        named = f", {len(each.features)} features" if each.features else ""
        baselines = f"; baselines: {', '.join(each.baselines)}" if each.baselines else ""
        shape = f"{each.datatype} {list(each.shape)}"
        yield "input", f"{each.name}: {each.kind}, {shape}{named}{baselines}"
    for output in model.outputs:
        named = f", {len(output.labels)} labels" if output.labels else ""
        yield "output", f"{output.name}: {output.kind}, {list(output.shape)}{named}"
    if model.checks.accuracy is not None:
        yield "accuracy", f"{model.checks.accuracy:.1%}"
    yield "runs on", model.device
    if model.layout is not None:
        yield "layout", "\n".join(_layout(model.layout))
    yield "limits", f"{model.max_rows} rows, {model.max_examples} examples"
    yield "layers", "\n".join(_layer(each) for each in model.layers)


def _layout(layout: LayoutInfo) -> Iterator[str]:
    rates = layout.rows_per_second
    name = layout.name
    faster = rates.get(name, 0.0) / rates["as loaded"] if "as loaded" in rates else 0.0
    if name != "as loaded":
        yield (
            f"{name}: {faster:.2f} times as fast as it was loaded; "
            f"off by {layout.output_distance:.1g} (outputs), {layout.gradient_distance:.1g} "
            f"(gradients)"
        )
    else:
        yield name
    for other, rate in sorted(rates.items()):
        if other not in (name, "as loaded"):
            yield f"not {other}: {rate / rates['as loaded']:.2f} times"
    for other, reason in sorted(layout.failures.items()):
        yield f"not {other}: {reason}"


def _layer(layer: LayerInfo) -> str:
    alias = f" = {layer.alias}" if layer.alias else ""
    shape = f" {list(layer.shape)}" if layer.shape else ""
    return f"{layer.name}{alias} ({layer.type}){shape}"
