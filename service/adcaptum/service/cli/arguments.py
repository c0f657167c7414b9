"""The words of a command line, parsed into values for the client."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import typer

from adcaptum.client import Blur, Layer, Method, Neuron, Samples, TopK
from adcaptum.client.baseline import Baseline
from adcaptum.client.method import ParameterValue
from adcaptum.client.target import Target

# Parameters while they are parsed: a word, or the parameters of a nested method, whose name stands
# under the empty word.
_Tree: TypeAlias = dict[str, "_Branch"]
_Branch: TypeAlias = str | _Tree

_INTEGER = re.compile(r"[+-]?\d+")
_INTEGERS = re.compile(r"[+-]?\d+(\s*,\s*[+-]?\d+)+")


def parse_target(word: str | None) -> Target:
    """Read ``3``, ``3,1`` (one per example), ``top:5``, ``all``, or a label.

    Raises:
        typer.BadParameter: The word after ``top:`` is not a whole number.
    """
    if word is None:
        return None
    if word.startswith("top:"):
        return TopK(_whole(word.removeprefix("top:"), "--target"))
    if _INTEGER.fullmatch(word) or _INTEGERS.fullmatch(word):
        return [int(each) for each in word.split(",")]
    return word


def parse_baseline(word: str | None) -> Baseline | None:
    """Read a number, ``blur:SIGMA``, ``samples:COUNT``, the path of a .npy file, or a name.

    Raises:
        typer.BadParameter: A number or a file cannot be read.
    """
    if word is None:
        return None
    kind, _, rest = word.partition(":")
    if kind == "blur" and rest:
        return Blur(_real(rest, "--baseline"))
    if kind == "samples" and rest:
        return Samples(_whole(rest, "--baseline"))
    if word.endswith(".npy"):
        return load_array(Path(word), "--baseline")
    number = _as_number(word)
    return word if number is None else number


def parse_layer(word: str | None) -> Layer | None:
    """Read ``features``, or ``features@input`` for the layer's input."""
    if word is None:
        return None
    name = word.removesuffix("@input")
    return Layer(name, input=name != word)


def parse_layer_baselines(words: Sequence[str]) -> list[float | np.ndarray[Any, Any]] | None:
    """Read numbers and paths of .npy files, one for each tensor at the layer.

    Raises:
        typer.BadParameter: One is neither, or the file cannot be read.
    """
    option = "--layer-baseline"
    read = [
        load_array(Path(word), option) if word.endswith(".npy") else _real(word, option)
        for word in words
    ]
    return read or None


def parse_neuron(word: str | None) -> Neuron | None:
    """Read ``features:3``, ``features:3,0,2``, or ``features:0..4,1,2`` for a sum over 0 to 3.

    Raises:
        typer.BadParameter: There is no index, or it is not of whole numbers.
    """
    if word is None:
        return None
    name, colon, index = word.rpartition(":")
    if not colon:
        raise typer.BadParameter(f"{word!r} is not LAYER:INDEX", param_hint="--neuron")
    layer = parse_layer(name)
    assert layer is not None, "there is a word"
    return Neuron(layer, tuple(_span(each) for each in index.split(",")))


def parse_mask(path: Path | None) -> np.ndarray[Any, Any] | None:
    """Read the .npy file of a feature mask.

    Raises:
        typer.BadParameter: There is none, or it holds no numbers.
    """
    return None if path is None else load_array(path, "--feature-mask")


def parse_method(name: str | None, params: Sequence[str]) -> Method | None:
    """Read a method from its name and ``name=value`` words.

    The parameters of a method inside another are written with a dot: ``of=saliency``,
    ``of.n_steps=20``.

    Raises:
        typer.BadParameter: A word is not of this form, or there are parameters and no method.
    """
    if name is None:
        if params:
            raise typer.BadParameter("parameters need a method", param_hint="--param")
        return None
    tree: _Tree = {}
    for word in params:
        _plant(tree, word)
    return Method(name, **{key: _value(key, value) for key, value in tree.items()})


def load_array(path: Path, option: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Read a .npy file.

    Raises:
        typer.BadParameter: There is none, or it holds no numbers.
    """
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint=option) from error


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


def _span(word: str) -> int | slice:
    begin, dots, end = word.partition("..")
    if not dots:
        return _whole(word, "--neuron")
    return slice(_whole(begin, "--neuron"), _whole(end, "--neuron"))


def _whole(word: str, option: str) -> int:
    if not _INTEGER.fullmatch(word):
        raise typer.BadParameter(f"{word!r} is not a whole number", param_hint=option)
    return int(word)


def _real(word: str, option: str) -> float:
    number = _as_number(word)
    if number is None:
        raise typer.BadParameter(f"{word!r} is not a number", param_hint=option)
    return number
