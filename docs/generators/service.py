"""The pages of settings, metrics and commands, from the service."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from prometheus_client import CollectorRegistry, Histogram
from pydantic.fields import FieldInfo

from adcaptum.service.cli.app import app
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.metrics import Metrics
from adcaptum.service.protocols.oip.oip_metrics import OipMetrics
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.service.settings import Settings
from docs.generators.markdown import markdown, table

_PLACEHOLDERS = {
    "model <str>": "MODEL",
    "name <str>": "NAME",
    "repository <path>": "REPOSITORY",
    "<int range>": "NUMBER",
    "<int>": "NUMBER",
    "<float>": "NUMBER",
    "<list[str]>": "VALUE",
    "<str>": "TEXT",
}


def settings_page() -> Iterator[str]:
    """Yield the lines of the page of settings."""
    yield "# Settings of the server"
    yield ""
    yield (
        "The command line comes first, then the environment, then the default. Each setting is "
        "read from the environment as `ADCAPTUM_` and its name in capitals: `port` from "
        "`ADCAPTUM_PORT`. [The command line](cli.md) has options for the most common."
    )
    yield ""
    texts = _field_texts(Settings)
    yield from table(
        ("setting", "default", ""),
        (
            (
                f"`{name}`",
                _default(field),
                texts.get(name, ""),
            )
            for name, field in Settings.model_fields.items()
        ),
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "unset"
    return f"`{field.default}`" if field.default != "" else "none"


def _field_texts(kind: type) -> dict[str, str]:
    """Return the strings below the fields of a class."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, node in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
        ):
            found[before.target.id] = " ".join(str(node.value.value).split())
    return found


def metrics_page() -> Iterator[str]:
    """Yield the lines of the page of metrics."""
    yield "# Metrics"
    yield ""
    yield (
        "`/metrics` on the HTTP port (8501 by default), in Prometheus' format. In queries a "
        "histogram `x` appears as `x_bucket`, `x_count` and `x_sum`. Label values are names of "
        "models, methods and calls that exist, never text from a caller. Durations are in seconds. "
        "Beside these, `/metrics` has the `process_` and `python_info` series of the Prometheus "
        "client."
    )
    yield ""
    yield from _table(Metrics())
    yield "\n## Open Inference Protocol\n"
    yield (
        "Requests of [this protocol](../how-to/open-inference-protocol.md), which are among those "
        "above, too. `model` is the name that the protocol uses, such as `cells:explain:saliency`. "
        "Their sums are what ModelStatistics tells."
    )
    yield ""
    yield from _table(OipMetrics(CollectorRegistry()))
    yield "\n## Security\n"
    yield "Of whoever lets calls in: the server, or each front."
    yield ""
    yield from _table(SecurityMetrics(CollectorRegistry()))
    yield "\n## With workers\n"
    yield (
        "The `/metrics` of a front (`adcaptum serve --workers N`) has the metrics above with the "
        "label `worker`, and these of its own. Counters go on when a worker is replaced. Of "
        "several fronts (`--fronts K`) the first one has `/metrics`, with what all of them count: "
        "series that begin with `adcaptum_front_`, `adcaptum_oip_`, `adcaptum_security_` or "
        "`adcaptum_worker_requests` then have the label `front`. "
        "`process_` series of the front itself begin with `adcaptum_front_process_`."
    )
    yield ""
    yield from _table(FrontMetrics())


def _table(metrics: object) -> Iterator[str]:
    rows = []
    for metric in _own(vars(metrics).values()):
        name = metric._name + ("_total" if metric._type == "counter" else "")  # noqa: SLF001
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001
        buckets = ""
        if isinstance(metric, Histogram):
            bounds = [bound for bound in metric._upper_bounds if bound != float("inf")]  # noqa: SLF001
            buckets = f" Buckets from {bounds[0]:g} to {bounds[-1]:g}."
        rows.append((f"`{name}`", metric._type, labels, metric._documentation + buckets))  # noqa: SLF001
    yield from table(("metric", "type", "labels", ""), rows)


def _own(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if hasattr(value, "_documentation")]


def commands_page() -> Iterator[str]:
    """Yield the lines of the page of commands."""
    yield "# Command line"
    yield ""
    yield "`pip install 'adcaptum[cli]'` brings `adcaptum`; `adcaptum serve` needs `[service]`."
    root: Any = typer.main.get_command(app)
    for name, command in sorted(_commands(root)):
        yield f"\n## adcaptum {name}\n"
        yield markdown(inspect.cleandoc(command.help or ""))
        yield ""
        context = command.make_context(name, ["model"], resilient_parsing=True)
        records = [param.get_help_record(context) for param in command.params]
        yield from table(
            ("option", ""), ((_spelt(spelt), text) for spelt, text in filter(None, records))
        )


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group and of the groups in it, with their names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before + name, command


def _spelt(option: str) -> str:
    """Return an option as code, without the borders of cells and the types of Python."""
    for plain, word in _PLACEHOLDERS.items():
        option = option.replace(plain, word)
    return f"`{option.replace('|', ', ')}`"
