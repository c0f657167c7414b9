"""The page of the methods, from the registry."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch

from adcaptum.engine import METHODS, Explicand, InvalidArgument
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import Parameter, describe
from docs.generators.markdown import markdown, table

FAMILIES = {
    "gradients": "Gradients",
    "paths": "Integrals along paths",
    "layers": "Layers and neurons",
    "backward_rules": "Backward rules",
    "cam": "Class activation maps",
    "perturbation": "Perturbation",
    "surrogates": "Surrogates",
    "shapley": "Shapley values",
}


def methods_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Methods"
    yield ""
    yield (
        f"The {len(METHODS)} methods of the engine and of the service. A *row* is one evaluation "
        "of the model on one input: a forward pass, or a forward and a backward pass for methods "
        "that need gradients. The column *rows* is what one example of ten features takes with "
        "default parameters and one baseline. `adcaptum methods MODEL` says which of them a served "
        "model can run."
    )
    yield ""
    yield from table(
        ("method", "rows", "gradient", "baseline", "background", "masks", "layer", "tolerance"),
        (
            (
                f"[`{name}`](#{name})",
                str(_rows(method)),
                _tick(method.traits.gradient),
                _tick(method.traits.baseline),
                _tick(method.traits.background),
                _tick(method.traits.feature_masks),
                method.traits.layer,
                _tick(method.traits.tolerance),
            )
            for name, method in METHODS.items()
        ),
    )
    yield ""
    yield (
        "*Background*: the baseline may be a set of rows, a distribution. *Masks*: feature masks "
        "group elements. *Layer*: a layer of the model may (optional) or must (required) be "
        "explained instead of the inputs; through: the inputs are explained through a layer. "
        "*Tolerance*: the method can continue until its estimated error is below a tolerance."
    )
    for family, title in FAMILIES.items():
        yield f"\n## {title}"
        for name, method in METHODS.items():
            if f".methods.{family}." in method.__module__:
                yield from _method(name, method)
    left = [n for n, m in METHODS.items() if m.__module__.split(".")[-2] not in FAMILIES]
    if left:
        raise ValueError(f"methods of a family without a title: {left}")


def _method(name: str, method: type[Method]) -> Iterator[str]:
    yield f"\n### {name} {{ #{name} }}\n"
    yield f"`{method.__name__}`. " + markdown(inspect.getdoc(method) or "")
    yield f"\nPaper: <{method.traits.paper}>"
    if parameters := describe(method):
        yield ""
        yield from table(
            ("parameter", "type", "default", "allowed", ""), map(_parameter, parameters)
        )


def _parameter(known: Parameter) -> tuple[str, ...]:
    bounds = [f"at least {known.minimum:g}"] if known.minimum is not None else []
    bounds += [f"at most {known.maximum:g}"] if known.maximum is not None else []
    allowed = ", ".join(f"`{word}`" for word in known.choices) or ", ".join(bounds)
    default = "depends on the input" if known.default is None else f"`{known.default}`"
    return f"`{known.name}`", known.type.value, default, allowed, known.text


def _rows(method: type[Method]) -> int:
    try:
        return method().rows(Explicand.of(torch.zeros(1, 10), target=0))
    except InvalidArgument:
        # A permutation exchanges the values of examples: it needs two.
        return method().rows(Explicand.of(torch.zeros(2, 10), target=0)) // 2


def _tick(value: bool) -> str:
    return "yes" if value else ""
