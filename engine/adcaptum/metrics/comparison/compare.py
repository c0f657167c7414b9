"""Comparison of attribution methods on examples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from tqdm.auto import tqdm

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import explain, like_inputs
from adcaptum.attr.facade.attribution import Attribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Forward, TargetType, Tensors
from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.method import Method
from adcaptum.metrics.attributions import checked_attributions
from adcaptum.metrics.comparison.comparison import Comparison
from adcaptum.metrics.comparison.measures import MEASURES, Explained, Measure
from adcaptum.metrics.comparison.method_file import methods_of

Explaining = str | Method | Attribution | Callable[..., Tensors]

_USUAL = ("deletion", "insertion", "faithfulness_correlation", "completeness", "sparseness")


def compare(
    model: Forward,
    methods: Sequence[str | Method] | Mapping[str, Explaining],
    examples: Tensors,
    metrics: Sequence[str] | Mapping[str, Measure] = _USUAL,
    *,
    target: TargetType = None,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    show_progress: bool = False,
) -> Comparison:
    """Explains examples with several methods, and measures their attributions.

    Args:
        model: The model.
        methods: Methods of the engine by their names, or made with their parameters, and files of
            methods by their paths ("mine.py", whose code runs); or, by names of the caller's,
            those, methods of `adcaptum.attr`, and functions of inputs, `target` and other arguments
            of `compare` that are not None, which return attributions.
        examples: A tensor, or a tuple of one per input of the model.
        metrics: Measures by their names (`MEASURES`), or by names of the caller's.
        target: The explained output.
        baselines: The baselines of methods and of measures; None: zeros.
        additional_forward_args: Further arguments of the model.
        show_progress: Whether to show a progress bar.

    Returns:
        The numbers of each method and measure; `print` shows a table.

    Raises:
        InvalidInput: If a name is unknown, or a method does not attribute to the inputs.
    """
    chosen, measures = _methods(methods), _measures(metrics)
    options = {"target": target, "additional_forward_args": additional_forward_args}
    scores: dict[tuple[str, str], Tensor] = {}
    seconds: dict[str, float] = {}
    steps = len(chosen) * (1 + len(measures))
    with tqdm(total=steps, desc="compare", disable=not show_progress) as bar:
        for name, method in chosen.items():
            explaining = _explaining(model, method)
            begin = time.perf_counter()
            found = explaining(examples, baselines=baselines, **options)
            seconds[name] = time.perf_counter() - begin
            bar.update()
            explained = Explained(
                model,
                examples,
                _checked(name, found, examples),
                target,
                baselines,
                additional_forward_args,
                explaining,
            )
            for measure, each in measures.items():
                scores[name, measure] = each.of(explained)
                bar.update()
    better = {name: measure.better for name, measure in measures.items()}
    return Comparison(tuple(chosen), better, scores, seconds)


def _explaining(model: Forward, method: Explaining) -> Callable[..., Tensors]:
    """A function of inputs, baselines, target and further arguments that explains them."""
    if isinstance(method, Attribution) or callable(method):
        own = method.attribute if isinstance(method, Attribution) else method

        def by_function(
            inputs: Tensors, *, baselines: BaselineType = None, **options: Any
        ) -> Tensors:
            given = {name: value for name, value in options.items() if value is not None}
            more = {} if baselines is None else {"baselines": baselines}
            single = isinstance(inputs, tuple) and len(inputs) == 1
            return cast("Tensors", own(inputs[0] if single else inputs, **given, **more))

        return by_function
    engine = cast("Method", method)

    def by_engine(inputs: Tensors, *, baselines: BaselineType = None, **options: Any) -> Tensors:
        distribution = engine.traits.distribution
        call = CaptumCall.of(
            model, inputs, baselines=baselines, distribution=distribution, **options
        )
        return like_inputs(call, explain(call, engine).values)

    return by_engine


def _methods(
    methods: Sequence[str | Method] | Mapping[str, Explaining],
) -> dict[str, Explaining]:
    if isinstance(methods, str) or not methods:
        raise InvalidInput("methods", repr(methods), "a list of methods, or a dict by names")
    if isinstance(methods, Mapping):
        given = dict(methods)
    else:
        pairs = [pair for each in methods for pair in _named(each)]
        given = dict(pairs)
        if len(given) < len(pairs):
            raise InvalidInput("methods", list(given), "of different names, or a dict by names")
    return {name: _method(name, method) for name, method in given.items()}


def _named(method: str | Method) -> list[tuple[str, Explaining]]:
    """A method by its name; of a file all, at their defaults, by theirs."""
    if not isinstance(method, str):
        return [(method.traits.name, method)]
    if not method.endswith(".py"):
        return [(method, method)]
    return [(name, kind()) for name, kind in methods_of(Path(method)).items()]


def _method(name: str, method: Explaining) -> Explaining:
    if isinstance(method, str):
        if method.endswith(".py"):
            own = methods_of(Path(method))
            if len(own) > 1:
                raise InvalidInput(f"methods[{name!r}]", f"{len(own)} methods", "a file of one")
            return next(iter(own.values()))()
        if method not in METHODS:
            raise InvalidInput(f"methods[{name!r}]", repr(method), _near(method, METHODS))
        return METHODS[method]()
    made = isinstance(method, Attribution) or callable(method) or "flow" in dir(method)
    if isinstance(method, type) or not made:
        raise InvalidInput(f"methods[{name!r}]", method, "a made method, a function, or a name")
    return method


def _measures(metrics: Sequence[str] | Mapping[str, Measure]) -> dict[str, Measure]:
    if isinstance(metrics, str) or not metrics:
        raise InvalidInput("metrics", repr(metrics), "a list of names, or a dict of measures")
    if isinstance(metrics, Mapping):
        return dict(metrics)
    for name in metrics:
        if name not in MEASURES:
            raise InvalidInput("metrics", repr(name), _near(name, MEASURES))
    return {name: MEASURES[name] for name in metrics}


def _near(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(known)}"


def _checked(name: str, attributions: Any, examples: Tensors) -> Tensors:
    tensors = examples if isinstance(examples, tuple) else (examples,)
    try:
        checked = checked_attributions(attributions, tensors)
    except InvalidInput as error:
        raise InvalidInput(f"methods[{name!r}]", f"one whose {error}", "of the inputs") from error
    return checked if isinstance(examples, tuple) else checked[0]
