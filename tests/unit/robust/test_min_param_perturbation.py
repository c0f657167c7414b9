"""MinParamPerturbation against Captum's, and where Captum's is wrong."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from captum import robust as captum
from captum.testing.helpers.basic_models import BasicModel_MultiLayer
from torch import Tensor, nn

from adcaptum import robust
from adcaptum.attr.errors import InvalidInput
from tests.captum_oracle import assert_same, silently

PACKAGES = (robust, captum)
ROW = torch.tensor([[2.0, -9.0, 9.0, 1.0, -3.0]])


def less(rows: Tensor, ind: int = 0, add_arg: float = 0) -> Tensor:
    changed = rows.clone()
    changed[:, ind] -= add_arg
    return changed


def with_letter(texts: list[list[str]], ind: int, char_val: int) -> list[list[str]]:
    def one(text: list[str]) -> list[str]:
        return [chr(122 - char_val) + w if i == ind else w for i, w in enumerate(text)]

    return [one(text) for text in texts]


def letters(texts: list[list[str]]) -> Tensor:
    return torch.tensor([[float(ord(word[0])) for word in text] for text in texts])


def above(outputs: Tensor, target: int, threshold: float) -> bool:
    return bool((outputs[:, target] > threshold).all())


def largest_first(x: Tensor) -> Tensor:
    """The identity, where ties are won by the first."""
    return x + torch.tensor([[1e-6, 0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize("at_once", [1, 10])
@pytest.mark.parametrize("mode", ["linear", "binary"])
@pytest.mark.parametrize("target", [2, torch.tensor([2])])
def test_the_least_strength_is_captums(mode: str, at_once: int, target: Any) -> None:
    answers = [
        package.MinParamPerturbation(
            largest_first, less, "add_arg", 0.0, 1000.0, 1.0, mode=mode
        ).evaluate(ROW, target=target, attack_kwargs={"ind": 2}, perturbations_per_eval=at_once)
        for package in PACKAGES
    ]
    assert answers[0][1] == answers[1][1] == 7.0
    assert_same(answers[0][0], answers[1][0])


@pytest.mark.parametrize("at_once", [1, 15])
@pytest.mark.parametrize("mode", ["linear", "binary"])
@pytest.mark.parametrize("threshold", [100, -1e9])
def test_the_least_letter_is_captums(threshold: float, mode: str, at_once: int) -> None:
    texts = [["abc", "zyd", "ghi"], ["abc", "uyd", "ghi"]]
    found = [
        package.MinParamPerturbation(
            BasicModel_MultiLayer(),
            with_letter,
            arg_name="char_val",
            arg_min=0,
            arg_max=26,
            arg_step=1,
            mode=mode,
            num_attempts=2,
            preproc_fn=letters,
            apply_before_preproc=True,
            correct_fn=above,
        ).evaluate(
            texts,
            target=1,
            attack_kwargs={"ind": 1},
            correct_fn_kwargs={"threshold": threshold},
            perturbations_per_eval=at_once,
            additional_forward_args=(torch.ones(2, 3) * -97,),
        )
        for package in PACKAGES
    ]
    assert found[0] == found[1]
    assert (found[0][1] is None) == (threshold < 0)


def test_inputs_that_are_tuples() -> None:
    model = nn.Linear(2, 3)
    search = robust.MinParamPerturbation(
        lambda pair: model(pair[0] + pair[1]),
        lambda pair, by: (pair[0] + by, pair[1]),
        "by",
        0.0,
        1e3,
        10.0,
        correct_fn=lambda outputs, target: bool((outputs[:, target] > -50).all()),
    )
    pair = (torch.zeros(2, 2), torch.ones(2, 2))
    found, value = search.evaluate(pair, target=int(model.weight.sum(1).argmin()))
    if model.weight.sum(1).min() < -0.06:
        assert isinstance(found, tuple)
        assert value % 10 == 0


def test_values_are_steps_from_the_first() -> None:
    """Captum adds up steps: ten of 0.1 are 0.9999999999999999, still below the end."""
    tried: dict[str, list[float]] = {}
    for package in PACKAGES:
        values = tried.setdefault(package.__name__, [])

        def attack(rows: Tensor, by: float, values: list[float] = values) -> Tensor:
            values.append(by)
            return rows

        search = package.MinParamPerturbation(lambda x: x, attack, "by", 0.0, 1.0, 0.1)
        assert search.evaluate(torch.eye(2), target=torch.tensor([0, 1])) == (None, None)
    assert len(tried["captum.robust"]) == 11
    assert tried["adcaptum.robust"] == [i * 0.1 for i in range(10)]


@pytest.mark.parametrize("mode", ["linear", "binary"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_each_examples_own_strength(mode: str, at_once: int) -> None:
    """As one search for each example, in far fewer evaluations."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    x = torch.randn(24, 4)
    target = model(x).argmax(1)
    attack = robust.FGSM(model, nn.CrossEntropyLoss())
    search = robust.MinParamPerturbation(
        model, attack, "epsilon", 0.0, 1.5, 0.05, mode=mode, num_attempts=2
    )
    changed, values = search.evaluate(
        x,
        target=target,
        attack_kwargs={"target": target},
        perturbations_per_eval=at_once,
        per_example=True,
    )
    for i in range(len(x)):
        own, value = search.evaluate(
            x[i : i + 1], target=target[i], attack_kwargs={"target": target[i : i + 1]}
        )
        if value is None:
            assert values[i].isnan()
            assert torch.equal(changed[i], x[i])
        else:
            assert float(values[i]) == value
            torch.testing.assert_close(changed[i], own[0])
    assert int((~values.isnan()).sum()) > 12
    assert len(values.unique()) > 5


def test_a_correct_fn_of_the_callers_judges_each_example() -> None:
    search = robust.MinParamPerturbation(
        lambda x: x,
        less,
        "add_arg",
        0,
        10,
        1,
        correct_fn=lambda out, floor: bool(out[0, 0] > floor),
    )
    rows = torch.tensor([[5.0, 0.0], [3.0, 0.0], [50.0, 0.0]])
    changed, values = search.evaluate(
        rows, correct_fn_kwargs={"floor": torch.tensor([2.0, 1.0, 0.0])}, per_example=True
    )
    assert values[:2].tolist() == [3.0, 2.0]
    assert values[2].isnan()
    assert_same(changed, torch.tensor([[2.0, 0.0], [1.0, 0.0], [50.0, 0.0]]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arg_step": 10.0}, "arg_step is 10.0: smaller than the range"),
        ({"arg_step": 0.0}, "arg_step is 0.0: above 0"),
        ({"mode": "cubic"}, "mode is 'cubic': linear or binary"),
        ({"num_attempts": 0}, "num_attempts is 0"),
    ],
)
def test_wrong_arguments_are_named(options: Any, words: str) -> None:
    arguments = {"arg_min": 0.0, "arg_max": 10.0, "arg_step": 1.0} | options
    with pytest.raises(AssertionError, match=words):
        robust.MinParamPerturbation(lambda x: x, less, "add_arg", **arguments)


def test_outputs_that_need_a_correct_fn() -> None:
    search = robust.MinParamPerturbation(lambda x: x[0], less, "add_arg", 0, 10, 1)
    with pytest.raises(InvalidInput, match="give a correct_fn"):
        search.evaluate(ROW, target=0)
    with pytest.raises(InvalidInput, match="perturbations_per_eval is 0"):
        search.evaluate(ROW, target=0, perturbations_per_eval=0)


def test_the_signatures_are_captums() -> None:
    def plain(function: Any) -> list[Any]:
        found = inspect.signature(function).parameters.values()
        return [p.replace(annotation=p.empty) for p in found if p.kind is not p.KEYWORD_ONLY]

    mine, theirs = robust.MinParamPerturbation, captum.MinParamPerturbation
    assert plain(mine.__init__) == plain(theirs.__init__)
    assert plain(mine.evaluate) == plain(theirs.evaluate)


# CIFAR_Captum_Robustness


def test_the_calls_of_captums_tutorial_on_robustness() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 10)).eval()
    image, label = torch.rand(1, 3, 12, 12), 2

    def normalize(picture: Tensor) -> Tensor:
        return (picture - 0.5) / 0.5

    probable = nn.Sequential(net, nn.Softmax(1))
    fgsm = robust.FGSM(probable, lower_bound=-1, upper_bound=1)
    attacked = fgsm.perturb(normalize(image), epsilon=0.16, target=label)
    pgd = robust.PGD(probable, nn.CrossEntropyLoss(reduction="none"), lower_bound=-1, upper_bound=1)
    towards = pgd.perturb(
        inputs=normalize(image),
        radius=0.13,
        step_size=0.02,
        step_num=7,
        target=torch.tensor([0]),
        targeted=True,
    )
    assert attacked.shape == towards.shape == image.shape  # type: ignore[union-attr]
    blur = lambda picture, by: picture * (1 - by)
    comparator = robust.AttackComparator(forward_func=net, metric=_metrics, preproc_fn=normalize)
    comparator.add_attack(blur, "Darken", attack_kwargs={"by": 0.3})
    comparator.add_attack(
        fgsm,
        "FGSM",
        attack_kwargs={"epsilon": 0.15},
        apply_before_preproc=False,
        additional_attack_arg_names=["target"],
        num_attempts=1,
    )
    for _ in range(2):
        comparator.evaluate(image, target=label, perturbations_per_eval=20)
    assert set(comparator.summary()) == {"Original", "Darken", "FGSM"}
    least = robust.MinParamPerturbation(
        forward_func=net,
        attack=blur,
        arg_name="by",
        arg_min=0.0,
        arg_max=2.0,
        arg_step=0.01,
        preproc_fn=normalize,
        apply_before_preproc=True,
    )
    found, value = silently(least.evaluate, image, target=int(net(normalize(image)).argmax()))
    assert (found is None) == (value is None)


def _metrics(outputs: Tensor, target: int) -> Tensor:
    return outputs.softmax(1)[:, target]
