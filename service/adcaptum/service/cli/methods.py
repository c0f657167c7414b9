"""The attribution methods in a terminal: all in short, or one in full."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adcaptum.client import MethodInfo, ParameterInfo, ParameterType, SiteUse

_NEEDS_LAYER: Final = (SiteUse.LAYER_REQUIRED, SiteUse.INPUTS_WITH_LAYER)
_LAYERS: Final = {
    SiteUse.NO_LAYER: "never",
    SiteUse.LAYER_OPTIONAL: "optional",
    SiteUse.LAYER_REQUIRED: "required",
    SiteUse.INPUTS_WITH_LAYER: "required, to explain the inputs",
    SiteUse.UNKNOWN: "unknown",
}
GROUPS: Final[tuple[tuple[str, Callable[[MethodInfo], bool]], ...]] = (
    (
        "by gradients",
        lambda each: each.needs_gradients and each.site_use not in _NEEDS_LAYER,
    ),
    (
        "by evaluations only",
        lambda each: not each.needs_gradients and each.site_use not in _NEEDS_LAYER,
    ),
    ("at a layer, which has to be named", lambda each: each.site_use in _NEEDS_LAYER),
)


def methods_view(methods: Iterable[MethodInfo]) -> RenderableType:
    """List methods in groups, each with its parameters; those that cannot run say why."""
    listed = list(methods)
    parts: list[RenderableType] = []
    for title, belongs in GROUPS:
        own = [method for method in listed if belongs(method)]
        if own:
            parts += [Text(title, style="bold"), _table(own), Text()]
    text = (
        "Parameters have their defaults (...: from the input). One: adcaptum methods --about NAME"
    )
    return Group(*parts, Text(text, style="dim"))


def method_view(method: MethodInfo) -> Table:
    """Describe one method."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, text in _facts(method):
        table.add_row(title, Text(text))
    return table


def _table(methods: Iterable[MethodInfo]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2), collapse_padding=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for method in methods:
        text = Text(method.description)
        if takes := ", ".join(_takes(method)):
            text.append(f" Takes {takes}.", style="italic")
        if method.parameters:
            text.append("\n" + "  ".join(map(_short, method.parameters)), style="cyan")
        refused = method.available is False
        if refused:
            text.append(f"\nnot for this model: {method.reason}", style="red")
        table.add_row(Text(method.name, style="dim" if refused else ""), text)
    return table


def _takes(method: MethodInfo) -> Iterator[str]:
    if method.site_use is SiteUse.LAYER_OPTIONAL:
        yield "layers"
    if method.accepts_neuron:
        yield "a neuron to go through"
    if method.uses_baseline:
        yield "background sets" if method.accepts_distribution else "a baseline"
    if method.accepts_feature_masks:
        yield "feature masks"
    if method.uses_seed:
        yield "a seed"
    if method.accepts_tolerance:
        yield "a tolerance"


def _short(parameter: ParameterInfo) -> str:
    default = "..." if parameter.default is None else _written(parameter.default)
    return f"{parameter.name}={default}"


def _facts(method: MethodInfo) -> Iterator[tuple[str, str]]:
    yield "method", f"{method.name} ({method.title})"
    yield "what it does", method.description
    yield "paper", method.paper
    if method.available is False:
        yield "not for this model", method.reason
    yield "needs", "gradients" if method.needs_gradients else "evaluations only"
    yield "layer", _LAYERS[method.site_use]
    if takes := ", ".join(_takes(method)):
        yield "takes", takes
    for parameter in method.parameters:
        yield parameter.name, _parameter(parameter)


def _parameter(parameter: ParameterInfo) -> str:
    kind = " or ".join(parameter.choices) or str(parameter.type)
    if parameter.type is ParameterType.FLAG:
        kind = "true or false"
    low, high = parameter.minimum, parameter.maximum
    bounds = "" if low is None else f", at least {low:g}"
    bounds += "" if high is None else f", at most {high:g}"
    default = "" if parameter.default is None else f"; by default {_written(parameter.default)}"
    return f"{parameter.description}\n{kind}{bounds}{default}"


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
