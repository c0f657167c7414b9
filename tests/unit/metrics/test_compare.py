"""Methods are compared by the measures' own numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf, isnan
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from adcaptum import attr, metrics
from adcaptum.attr.errors import InvalidInput
from adcaptum.engine import Attribution, Explicand, Flow, Traits, ask
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
BASE = torch.randn(1, 5, generator=torch.Generator().manual_seed(1))
TARGET = torch.tensor([0, 1, 2, 0, 1, 2])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).eval()


@dataclass(frozen=True)
class Halved:
    """A method of the caller's own: half of the gradient times the input."""

    traits: ClassVar[Traits] = Traits(name="halved", paper="", gradient=True)

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        reading = yield from ask(explicand.at_inputs(gradient=True))
        return Attribution(
            tuple(g * t / 2 for g, t in zip(reading.gradients, explicand.inputs, strict=True))
        )

    def rows(self, explicand: Explicand) -> int:
        return explicand.count


def ones(inputs: Any, target: Any = None, **_: Any) -> Any:
    return torch.ones_like(inputs)


def test_the_numbers_are_those_of_methods_and_measures() -> None:
    model = network()
    found = metrics.compare(
        model,
        {
            "ig": IntegratedGradients(n_steps=20),
            "by name": "input_x_gradient",
            "captum's": attr.IntegratedGradients(model),
            "mine": Halved(),
            "ones": ones,
        },
        X,
        ["deletion", "completeness", "faithfulness_estimate", "sparseness", "sensitivity_max"],
        target=TARGET,
        baselines=BASE,
    )
    ig: Any = attr.IntegratedGradients(model).attribute(X, BASE, target=TARGET, n_steps=20)
    for measure in ("deletion", "completeness", "faithfulness_estimate"):
        values = getattr(metrics, measure)(model, X, ig, TARGET, baselines=BASE).values
        torch.testing.assert_close(found.scores["ig", measure], values, atol=1e-6, rtol=1e-5)
        assert found.mean("ig", measure) == pytest.approx(float(values.mean()), abs=1e-6)
        error = float(values.std()) / 6**0.5
        assert found.standard_error("ig", measure) == pytest.approx(error, abs=1e-6)
    gradient: Any = attr.InputXGradient(model).attribute(X, target=TARGET)
    halved = metrics.completeness(model, X, gradient / 2, TARGET, baselines=BASE).values
    torch.testing.assert_close(found.scores["mine", "completeness"], halved)
    assert found.best("completeness") in {"ig", "captum's"}
    assert not found.scores["ones", "sensitivity_max"].any()
    assert found.best("sensitivity_max") == "ones"
    # A constant has no correlation: no number, and no error of a mean.
    assert isnan(found.mean("ones", "faithfulness_estimate"))
    assert found.standard_error("ones", "faithfulness_estimate") == inf


FILE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine import Attribution, Explicand, Flow, Traits, ask, parameter


@dataclass(frozen=True, slots=True)
class Power:
    traits: ClassVar[Traits] = Traits(name="power", paper="", gradient=True)

    exponent: float = parameter(2.0, "The power.", minimum=0)

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        reading = yield from ask(explicand.at_inputs(gradient=True))
        return Attribution(tuple(g.abs() ** self.exponent for g in reading.gradients))

    def rows(self, explicand: Explicand) -> int:
        return explicand.count
"""


def test_a_users_method_file_takes_part_by_its_methods_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE, encoding="utf-8")
    model = network()
    path = str(tmp_path / "mine.py")
    found = metrics.compare(model, ["saliency", path], X, ["sparseness"], target=1)
    assert found.methods == ("saliency", "power")
    gradient: Any = attr.Saliency(model).attribute(X, target=1)
    squares = metrics.sparseness(gradient.square()).values
    torch.testing.assert_close(found.scores["power", "sparseness"], squares)
    named = metrics.compare(model, {"mine": path}, X, ["sparseness"], target=1)
    torch.testing.assert_close(named.scores["mine", "sparseness"], squares)
    other = FILE[FILE.index("@dataclass") :].replace("Power", "Other").replace('"power"', '"other"')
    (tmp_path / "two.py").write_text(FILE + other, encoding="utf-8")
    with pytest.raises(InvalidInput, match="2 methods: a file of one"):
        metrics.compare(model, {"mine": str(tmp_path / "two.py")}, X, ["sparseness"], target=1)
    (tmp_path / "empty.py").write_text("", encoding="utf-8")
    for name, words in (("empty.py", "a file with a dataclass"), ("none.py", "a file that exists")):
        with pytest.raises(InvalidInput, match=words):
            metrics.compare(model, [str(tmp_path / name)], X, ["sparseness"], target=1)


def test_a_comparison_is_shown_written_and_drawn() -> None:
    found = metrics.compare(network(), ["saliency", Halved()], X, target=1, show_progress=False)
    assert found.methods == ("saliency", "halved")
    lines = str(found).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("| method | deletion ↓ | insertion ↑")
    assert lines[2].startswith("| saliency | ")
    assert lines[2].count("**") + lines[3].count("**") == 2 * 5
    plain = json.loads(found.to_json())
    assert plain["better"]["deletion"] == "lower"
    assert len(plain["methods"]["halved"]["measures"]["sparseness"]["examples"]) == 6
    figure = found.plot()
    assert len(figure.axes) == 5
    assert "deletion (lower is better)" in {axis.get_title() for axis in figure.axes}


def test_numbers_that_are_none_are_null_in_json() -> None:
    found = metrics.compare(network(), {"ones": ones}, X, ["faithfulness_estimate"], target=0)
    row = json.loads(found.to_json())["methods"]["ones"]["measures"]["faithfulness_estimate"]
    assert row["mean"] is None
    assert row["examples"] == [None] * 6
    assert found.best("faithfulness_estimate") is None


def test_measures_of_the_callers_and_inputs_of_several_tensors() -> None:
    model = lambda a, b, scale: (a.sum(1) + 2 * b.sum(1)) * scale
    pair = (torch.rand(3, 2), torch.rand(3, 4))
    first = metrics.Measure(lambda explained: explained.attributions[1].sum(1))
    scale = torch.tensor([1.0, 2.0, 3.0])
    found = metrics.compare(
        model,
        ["input_x_gradient"],
        pair,
        {"second input": first, "completeness": metrics.MEASURES["completeness"]},
        additional_forward_args=scale,
    )
    torch.testing.assert_close(
        found.scores["input_x_gradient", "second input"], 2 * pair[1].sum(1) * scale
    )
    assert found.mean("input_x_gradient", "completeness") < 1e-5
    assert found.best("second input") is None
    assert "second input |" in found.table()


@pytest.mark.parametrize(
    ("methods", "measures", "words"),
    [
        (["integrated_gradient"], ["deletion"], "did you mean integrated_gradients"),
        (["saliency"], ["deletoin"], "did you mean deletion"),
        (["saliency"], "deletion", "a list of names"),
        ("saliency", ["deletion"], "a list of methods"),
        ([], ["deletion"], "a list of methods"),
        (["saliency"], [], "a list of names"),
        ([Halved(), Halved()], ["deletion"], "of different names"),
        ({"class": attr.Saliency}, ["deletion"], "a made method"),
        ({"number": 3}, ["deletion"], "a made method"),
        ({"short": lambda x, target: x[:, :2]}, ["deletion"], r"methods\['short'\] is one whose"),
    ],
)
def test_wrong_arguments_are_named(methods: Any, measures: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        metrics.compare(network(), methods, X, measures, target=0)
