"""The words of a command line, parsed into values for the client."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import typer

from adcaptum.client import (
    Background,
    Blur,
    Distribution,
    Method,
    Neuron,
    Site,
    Spec,
    Superpixels,
    TopK,
)
from adcaptum.client.baseline import Baseline, Baselines
from adcaptum.client.mask import Mask, Masks
from adcaptum.client.method import ParameterValue
from adcaptum.client.target import Target

# Parameters while they are parsed: a word, or the parameters of a nested method, whose name stands
# under the empty word.
_Tree: TypeAlias = dict[str, "_Branch"]
_Branch: TypeAlias = str | _Tree

_INTEGER = re.compile(r"[+-]?\d+")
_INTEGERS = re.compile(r"[+-]?\d+(\s*,\s*[+-]?\d+)+")


def parse_targets(words: Sequence[str], neurons: Sequence[str]) -> list[Target] | None:
    """Read targets, and neurons to explain instead of outputs; None if there are none.

    Raises:
        typer.BadParameter: A word cannot be read.
    """
    targets = [parse_target(word) for word in words]
    return [*targets, *(parse_neuron(word, "--neuron") for word in neurons)] or None


def parse_target(word: str) -> Target:
    """Read ``3``, ``3,1`` (an index, or one class per example), ``top:5``, ``all``, or a label.

    Raises:
        typer.BadParameter: The word after ``top:`` is not a whole number.
    """
    if word.startswith("top:"):
        return TopK(_whole(word.removeprefix("top:"), "--target"))
    if _INTEGER.fullmatch(word):
        return int(word)
    if _INTEGERS.fullmatch(word):
        return tuple(int(each) for each in word.split(","))
    return word


def parse_baseline(word: str | None, option: str = "--baseline") -> Baseline | None:
    """Read a number, a name, ``blur:SIGMA``, ``background:COUNT``, ``FILE.npy``, or rows.

    Rows of which each is a baseline of each example are ``distribution:FILE.npy``.

    Raises:
        typer.BadParameter: A number or a file cannot be read.
    """
    if word is None:
        return None
    kind, _, rest = word.partition(":")
    if kind == "blur" and rest:
        return Blur(_real(rest, option))
    if kind == "background" and rest:
        return Background(_whole(rest, option))
    if kind == "distribution" and rest:
        return Distribution(load_array(Path(rest), option))
    if word.endswith(".npy"):
        return load_array(Path(word), option)
    number = _as_number(word)
    return word if number is None else number


def parse_site(
    word: str | None, baselines: Sequence[str] = (), masks: Sequence[Path] = ()
) -> Site | None:
    """Read ``features``, or ``features@input`` for the layer's input, and what is said of it.

    Args:
        word: The layer.
        baselines: Numbers, ``FILE.npy`` or ``distribution:FILE.npy``, one per tensor at the layer.
        masks: Files of feature masks, one per tensor at the layer.

    Raises:
        typer.BadParameter: A word or a file cannot be read, or there is no layer.
    """
    if word is None:
        if baselines or masks:
            option = "--layer-baseline" if baselines else "--layer-mask"
            raise typer.BadParameter("it needs --layer", param_hint=option)
        return None
    layer, at_input = _layer(word)
    return Site(
        layer,
        at_input,
        tuple(_layer_baseline(each) for each in baselines),
        tuple(load_array(each, "--layer-mask") for each in masks),
    )


def parse_neuron(word: str, option: str) -> Neuron:
    """Read ``features:3``, ``features:3,0,2``, or ``features:0..4,1,2`` for a sum over 0 to 3.

    Raises:
        typer.BadParameter: There is no index, or it is not of whole numbers.
    """
    name, colon, index = word.rpartition(":")
    if not colon:
        raise typer.BadParameter(f"{word!r} is not LAYER:INDEX", param_hint=option)
    layer, at_input = _layer(name)
    return Neuron(layer, tuple(_span(each, option) for each in index.split(",")), at_input)


def parse_baselines(words: Sequence[str]) -> Baselines | None:
    """Read baselines of inputs, each as `parse_baseline` does, with ``INPUT=`` before it or not.

    Raises:
        typer.BadParameter: One cannot be read, or several have no input.
    """
    option = "--baseline"
    read = {name: parse_baseline(word, option) for name, word in _by_input(words, option).items()}
    found = {name: each for name, each in read.items() if each is not None}
    return found.get("", found or None)


def parse_masks(words: Sequence[str]) -> Masks | None:
    """Read feature masks: .npy files or ``superpixels:COUNT``, with ``INPUT=`` before it or not.

    Raises:
        typer.BadParameter: One cannot be read, or several have no input.
    """
    option = "--feature-mask"
    named = {name: _mask(word, option) for name, word in _by_input(words, option).items()}
    return named.get("", named or None)


def _mask(word: str, option: str) -> Mask:
    kind, _, count = word.partition(":")
    if kind != "superpixels":
        return load_array(Path(word), option)
    if not count:
        return Superpixels()
    number = _whole(count, option)
    if number < 1:
        raise typer.BadParameter(f"{word!r}: the number must be at least 1", param_hint=option)
    return Superpixels(number)


def _by_input(words: Sequence[str], option: str) -> dict[str, str]:
    """Divide words by the inputs that they name."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            name, value = "", word
        if name in found or (found and "" in {name, *found}):
            raise typer.BadParameter(
                f"{word!r} is another one; each must name its input: INPUT={value}",
                param_hint=option,
            )
        found[name] = value
    return found


def parse_methods(
    names: Sequence[str], params: Sequence[str], preset: Spec | None = None
) -> list[str | Method] | None:
    """Read methods by their names, or the one method with its ``name=value`` words.

    The parameters of a method inside another are written with a dot: ``of=saliency``,
    ``of.n_steps=20``.

    Args:
        names: The names; without any, parameters are those of the preset's only method.
        params: The words.
        preset: The question of the preset; needed for parameters without a name.

    Raises:
        typer.BadParameter: A word is not of this form, or there are parameters of several methods.
    """
    if not params:
        return [*names] or None
    tree: _Tree = {}
    for word in params:
        _plant(tree, word)
    known = [Method(name) for name in names] or _methods_of(preset)
    if len(known) != 1:
        raise typer.BadParameter("parameters need one --method", param_hint="--param")
    own = {key: _value(key, value) for key, value in tree.items()}
    return [Method(known[0].name, **{**known[0].params, **own})]


def _methods_of(preset: Spec | None) -> list[Method]:
    if preset is None or not isinstance(preset.methods, list):
        return []
    return [each for each in preset.methods if isinstance(each, Method)]


def _layer(word: str) -> tuple[str, bool]:
    """Return the name of a layer, and whether its input is meant."""
    name = word.removesuffix("@input")
    return name, name != word


def _layer_baseline(word: str) -> Baseline:
    option = "--layer-baseline"
    baseline = parse_baseline(word, option)
    if baseline is None or isinstance(baseline, str | Blur | Background):
        raise typer.BadParameter(f"{word!r} is of inputs", param_hint=option)
    return baseline


def load_array(path: Path, option: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Read a .npy file.

    Raises:
        typer.BadParameter: There is none, or it holds no numbers.
    """
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {no_array(error)}", param_hint=option) from error


def cause(error: Exception) -> str:
    """Returns the cause of an error in reading a file, without the path that the system repeats."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def no_array(error: Exception) -> str:
    """Returns why a file has no arrays, in place of NumPy's advice to load it as a pickle."""
    missing = isinstance(error, OSError) and error.strerror
    return cause(error) if missing else "no array of numbers as `numpy.save` writes (.npy, .npz)"


def _plant(tree: _Tree, word: str) -> None:
    path, equals, value = word.partition("=")
    if not (path and equals and value):
        raise typer.BadParameter(f"{word!r} is not NAME=VALUE", param_hint="--param")
    *parents, leaf = path.split(".")
    place = tree
    for parent in parents:
        inner = place.setdefault(parent, {})
        if isinstance(inner, str):
            inner = place[parent] = {"": inner}
        place = inner
    known = place.get(leaf)
    if isinstance(known, dict):
        known[""] = value
    else:
        place[leaf] = value


def _value(name: str, value: _Branch) -> ParameterValue:
    if isinstance(value, str):
        # The parameter that wraps a method is called so in every method that wraps one.
        return Method(value) if name == "of" else _scalar(value)
    inner = value.get("")
    if not isinstance(inner, str):
        raise typer.BadParameter(f"{name}.* needs {name}=METHOD", param_hint="--param")
    return Method(inner, **{key: _value(key, each) for key, each in value.items() if key})


def _scalar(word: str) -> ParameterValue:
    if word.lower() in {"true", "false"}:
        return word.lower() == "true"
    if _INTEGER.fullmatch(word):
        return int(word)
    if _INTEGERS.fullmatch(word):
        return [int(each) for each in word.split(",")]
    number = _as_number(word)
    return word if number is None else number


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _span(word: str, option: str) -> int | slice:
    begin, dots, end = word.partition("..")
    if not dots:
        return _whole(word, option)
    return slice(_whole(begin, option), _whole(end, option))


def _whole(word: str, option: str) -> int:
    if not _INTEGER.fullmatch(word):
        raise typer.BadParameter(f"{word!r} is not a whole number", param_hint=option)
    return int(word)


def _real(word: str, option: str) -> float:
    number = _as_number(word)
    if number is None:
        raise typer.BadParameter(f"{word!r} is not a number", param_hint=option)
    return number
