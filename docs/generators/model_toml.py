"""The page of model.toml, from the declaration's classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any, get_args

from google.protobuf.descriptor import FieldDescriptor

from adcaptum.service.models import declaration
from adcaptum.service.placement import terms
from adcaptum.v1 import explain_spec_pb2
from docs.generators.markdown import table


def model_toml_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# model.toml"
    yield ""
    yield (
        "The declaration of a model, beside its versions: `NAME/model.toml` and "
        "`NAME/VERSION/weights.safetensors`. [Serve your model](../tutorials/serve-your-model.md) "
        "shows a whole one. Unknown keys are errors."
    )
    keys = {
        "presets": "[defaults], [presets.NAME]",
        "max_rows": "[limits] max_rows",
        "max_examples": "[limits] max_examples",
        "examples": "[examples] file",
        "example_texts": "[examples] texts",
        "arguments": "[arguments]",
        "trusted": "[trusted]",
        "aliases": "[aliases]",
        "layers": "[layers]",
        "inputs": "[[inputs]]",
        "outputs": "[[outputs]]",
        "runtime": "[runtime]",
        "placement": "[placement]",
    }
    yield "\n## The model\n"
    yield from _attributes(
        declaration.Declaration,
        keys,
        leave=("name",),
        defaults={"description": "", "factory": "", "loader": '`"factory"`'},
    )
    yield "\n## `[defaults]` and `[presets.NAME]`\n"
    yield from _presets()
    yield "\n## `[[inputs]]`\n"
    yield from _attributes(
        declaration.InputDeclaration,
        {"baselines": "[inputs.baselines]"},
        defaults={
            "kind": '`"tensor"`',
            "datatype": '`"FP32"`; of texts `"INT64"`',
            "default_baseline": '`"zero"`; of texts `"pad"`',
            "max_tokens": "`128`",
            "pad_token": '`"[PAD]"`',
        },
    )
    yield "\nThe values of `[inputs.baselines]`:\n"
    forms = (
        ("a number", declaration.NumberBaseline),
        ("`{ file, key }`", declaration.FileBaseline),
        ("`{ token }`", declaration.TokenBaseline),
    )
    yield from table(("value", ""), ((form, inspect.getdoc(kind) or "") for form, kind in forms))
    yield "\n## `[[outputs]]`\n"
    yield from _attributes(
        declaration.OutputDeclaration,
        {},
        defaults={"datatype": '`"FP32"`'},
        more=[("labels_file", "text", "", "A file in the model's folder with a label a line.")],
    )
    yield "\n## `[runtime]`\n"
    yield (
        "These keys apply to evaluations of the model's inputs and outputs. Layers, embeddings, "
        "backward rules (DeepLIFT, LRP and their like) and deterministic answers use the model as "
        "loaded.\n"
    )
    yield from _attributes(declaration.Runtime, {})
    yield ""
    yield (
        "`precision` changes the numbers, so it is the owner's choice, never taken for speed. "
        "`adcaptum models NAME` states how far outputs and gradients are off; [decision "
        "70](../decisions/0070-model-variants.md) has figures."
    )
    yield "\n## `[placement]`\n"
    yield PLACEMENT.strip().partition("\n\n")[0].replace("\n", " ")
    yield ""
    yield from _attributes(terms.Terms, {})
    yield ""
    yield PLACEMENT.strip().partition("\n\n")[2].replace("\n", " ")


PLACEMENT = """
With worker processes (`adcaptum serve --workers`, or several devices) these keys decide which of
them have the model. The largest model chooses first, and each model gets one worker before any
gets a second one. `adcaptum workers` and the log line `models placed` show the result; a model
for which no worker has room, or that allows none of their devices, is FAILED with the reason.
`memory_bytes` is what is set aside, not a limit: state it where batches or copies take much more
than the weights. The memory of a worker on the CPU is `worker_memory_bytes`, or its share of the
machine's; workers on one GPU divide its memory.

One process that does everything has every model that allows its device, and on the CPU those for
which there is memory; `replicas` says nothing there. The plan is made when a server starts, and
again when its workers are replaced.
"""

PRESETS = """
[defaults]
methods = [{ name = "integrated_gradients", params = { n_steps = 50 } }]

[presets.exact]
description = "The two largest classes, to an error of 1 %."
methods = [{ name = "integrated_gradients" }]
targets = [{ top_k = 2 }]
budget = { tolerance = 0.01 }
output = { max_features = 10 }
"""


def _presets() -> Iterator[str]:
    yield (
        "A preset is a question to the model under a name: what a request says with "
        '`"preset": "exact"`. `[defaults]` is the preset `default`, of requests that name none. '
        "Without it, or without methods in it, the default method is integrated gradients, or "
        "KernelSHAP where the model has no gradients. "
        "A field that a request sets in its `spec` stands in place of the preset's whole field. "
        "No preset has the name of a method."
    )
    yield f"\n```text{PRESETS}```\n"
    yield (
        "The keys are `description`, and the fields of "
        "[ExplainSpec](protocol.md#explainspec) in their JSON form:\n"
    )
    fields_of_spec = explain_spec_pb2.ExplainSpec.DESCRIPTOR.fields
    yield from table(
        ("key", "value"), ((f"`{each.name}`", _json_form(each)) for each in fields_of_spec)
    )


def _json_form(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        name = field.message_type.name
        one = f"[{name}](protocol.md#{name.lower()})"
        return f"a list of {one}" if field.is_repeated else one
    return {"seed": "a whole number", "deterministic": "`true` or `false`"}[field.name]


def _attributes(
    declared: type,
    keys: Mapping[str, str],
    *,
    leave: Sequence[str] = (),
    defaults: Mapping[str, str] = MappingProxyType({}),
    more: Sequence[tuple[str, str, str, str]] = (),
) -> Iterator[str]:
    texts = _documented(inspect.getdoc(declared) or "")
    rows = [
        (
            f"`{keys.get(name, name)}`",
            _type(field.type),
            defaults.get(name, _default(field)),
            texts[name],
        )
        for field in fields(declared)
        if (name := field.name) not in leave
    ]
    rows += [(f"`{name}`", kind, default, text) for name, kind, default, text in more]
    yield from table(("key", "type", "default", ""), rows)


def _documented(text: str) -> dict[str, str]:
    """Return the texts of a docstring's section `Attributes`."""
    found: dict[str, str] = {}
    name = ""
    for line in text.partition("Attributes:\n")[2].splitlines():
        if line.startswith("    ") and line[4:5].strip():
            name, _, meaning = line.strip().partition(": ")
            found[name] = meaning
        elif name:
            found[name] += f" {line.strip()}"
    return found


def _type(hint: object) -> str:
    names = {"Kind": declaration.Kind, "OutputKind": declaration.OutputKind}
    names |= {"Precision": declaration.Precision, "MemoryFormat": declaration.MemoryFormat}
    literal = next((kind for name, kind in names.items() if hint in {name, kind}), None)
    if literal is not None:
        return ", ".join(f'`"{word}"`' for word in get_args(literal))
    text = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
    text = str(hint) if "[" in str(hint) or "|" in str(hint) else text
    kinds = (
        ("Mapping", "table"),
        ("Declaration", "tables"),
        ("tuple[int", "integers"),
        ("tuple[str", "texts"),
        ("Path", "file"),
        ("bool", '`"auto"` or `false`'),
        ("float", "number"),
        ("int", "integer"),
        ("str", "text"),
    )
    return next((word for start, word in kinds if start in text), "table")


def _default(field: Any) -> str:
    value = field.default
    if value is MISSING:
        return "required" if field.default_factory is MISSING else ""
    if value is True:
        return '`"auto"`'
    if isinstance(value, str | int | float) and value not in {"", 0}:
        return f"`{value!r}`".replace("'", '"')
    return ""
