"""FGSM and PGD against Captum's, and where Captum's are wrong."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from captum import robust as captum
from captum.testing.helpers.basic_models import BasicModel, BasicModel2, BasicModel_MultiLayer
from torch import Tensor, nn
from torch.nn import functional

from adcaptum import robust
from adcaptum.attr.errors import InvalidInput, UnfitModel
from tests.captum_oracle import assert_same, silently

ROW = torch.tensor([[2.0, -9.0, 9.0, 1.0, -3.0]])
FOUR = torch.tensor([[9.0, 10.0, -6.0, -1.0]])
TWO = (torch.tensor([[4.0, -1.0], [3.0, 10.0]]), torch.tensor([[2.0, -5.0], [-2.0, 1.0]]))
BLOCK = torch.tensor([[[4.0, 2.0], [-1.0, -2.0]], [[3.0, -4.0], [10.0, 5.0]]])
MORE = torch.tensor([[-1.0, 2.0, 2.0]])
MASKS = (torch.tensor([[1, 0], [1, 0]]), torch.tensor([[0, 0], [0, 1]]))
ENTROPY = nn.CrossEntropyLoss(reduction="none")
MULTI = (BasicModel_MultiLayer(), torch.tensor([[1.0, 6.0, -3.0]]))

# The cases of Captum's tests: model, inputs, target, other arguments.
CASES: dict[str, tuple[nn.Module, Any, Any, dict[str, Any]]] = {
    "away": (BasicModel(), ROW, 1, {}),
    "towards": (BasicModel(), FOUR, 3, {"targeted": True}),
    "inputs": (BasicModel2(), TWO, 0, {}),
    "labels": (BasicModel2(), TWO, [0, 1], {}),
    "tensor": (BasicModel2(), TWO, torch.tensor([0, 1]), {"targeted": True}),
    "tuple": (BasicModel(), BLOCK, (0, 1), {}),
    "tuples": (BasicModel(), BLOCK, [(1, 1), (0, 1)], {}),
    "further": (*MULTI, 0, {"additional_forward_args": (MORE,)}),
    "alone": (*MULTI, 0, {"additional_forward_args": MORE}),
    "mask": (BasicModel(), ROW, 1, {"mask": torch.tensor([[1, 0, 0, 1, 1]])}),
    "masks": (BasicModel2(), TWO, 0, {"mask": MASKS}),
    "block-mask": (BasicModel(), BLOCK, (0, 1), {"mask": torch.tensor([[[1, 0], [1, 1]]])}),
}


def both(
    name: str, case: tuple[nn.Module, Any, Any, dict[str, Any]], make: dict[str, Any], **more: Any
) -> tuple[Any, Any]:
    model, inputs, target, options = case
    found = []
    for package in (robust, captum):
        torch.manual_seed(0)
        attack = getattr(package, name)(model, **make)
        mine = copy.deepcopy((inputs, target))
        found.append(silently(attack.perturb, mine[0], target=mine[1], **options, **more))
    return found[0], found[1]


@pytest.mark.parametrize(
    "bounds", [{}, {"lower_bound": -5.0, "upper_bound": 5.0}], ids=["", "bounds"]
)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_fgsm_is_captums(case: Any, bounds: Any) -> None:
    assert_same(*both("FGSM", case, bounds, epsilon=0.2))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pgd_is_captums(case: Any, norm: str) -> None:
    bounds = {"upper_bound": 9.5}
    assert_same(*both("PGD", case, bounds, radius=0.25, step_size=0.1, step_num=4, norm=norm))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_random_starts_are_captums_to_the_draw(norm: str) -> None:
    case = CASES["mask"]
    options = {"radius": 0.25, "step_size": 0.1, "step_num": 2, "norm": norm}
    assert_same(*both("PGD", case, {}, random_start=True, **options))


def test_losses_of_each_example_are_captums() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    x, target = torch.randn(5, 4), torch.tensor([0, 2, 1, 1, 0])
    case: Any = (model, x, target, {})
    assert_same(*both("FGSM", case, {"loss_func": ENTROPY}, epsilon=0.1))
    options = {"radius": 0.3, "step_size": 0.1, "step_num": 5}
    mine, theirs = both("PGD", case, {"loss_func": ENTROPY}, **options)
    assert_same(mine, theirs)
    # The attack works: every example's loss is larger, within the ball.
    with torch.no_grad():
        assert (ENTROPY(model(mine), target) > ENTROPY(model(x), target)).all()
    assert (mine - x).abs().max() <= 0.3 + 1e-6


def test_rounding_moves_nothing() -> None:
    """Both outputs change alike, so that the loss's gradient is rounding, of one sign."""
    model, x = MULTI
    for mask in ({}, {"mask": torch.tensor([[0, 0, 1]])}):
        case: Any = (model, x, torch.tensor([0]), {"additional_forward_args": (MORE,), **mask})
        mine, theirs = both("FGSM", case, {"loss_func": ENTROPY}, epsilon=0.2)
        assert_same(mine, theirs)
        assert torch.equal(mine, x)


@pytest.mark.parametrize("name", ["FGSM", "PGD", "Perturbation"])
def test_the_signatures_are_captums(name: str) -> None:
    def plain(function: Any) -> list[Any]:
        found = inspect.signature(function).parameters.values()
        return [p.replace(annotation=p.empty) for p in found]

    mine, theirs = getattr(robust, name), getattr(captum, name)
    assert plain(mine.__init__) == plain(theirs.__init__)
    if name != "Perturbation":
        assert plain(mine.perturb) == plain(theirs.perturb)


def test_an_attack_is_called_like_a_function() -> None:
    attack = robust.FGSM(BasicModel())
    assert_same(attack(ROW, 0.1, 1), attack.perturb(ROW, 0.1, 1))


def test_a_loss_of_the_whole_batch_is_taken_of_each_example() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    x, target = torch.randn(64, 4), torch.randint(3, (64,))
    with pytest.raises(IndexError, match="0-dim tensor"):
        silently(captum.FGSM(model, nn.CrossEntropyLoss()).perturb, x, 0.1, target)
    theirs = silently(captum.FGSM(model, ENTROPY).perturb, x, 0.1, target)
    for reduction in ("mean", "sum"):
        loss = nn.CrossEntropyLoss(reduction=reduction)
        assert_same(robust.FGSM(model, loss).perturb(x, 0.1, target), theirs)


def test_random_starts_in_a_ball_have_each_examples_own_length() -> None:
    """Captum's lengths of examples are those of features, or do not fit."""
    flat, square = torch.zeros(2, 3), torch.zeros(4000, 2)
    options: dict[str, Any] = {
        "radius": 1.0, "step_size": 0.1, "step_num": 0, "target": 0, "norm": "L2",
        "random_start": True,
    }  # fmt: skip
    with pytest.raises(RuntimeError, match="must match"):
        captum.PGD(lambda x: x).perturb(flat, **options)
    torch.manual_seed(0)
    starts: Any = robust.PGD(lambda x: x).perturb(square, **options)
    lengths = starts.norm(dim=1)
    assert lengths.max() <= 1
    # Uniform in the disc: a quarter of the points within half the radius.
    assert abs(float((lengths < 0.5).float().mean()) - 0.25) < 0.03
    assert starts.mean(0).abs().max() < 0.05


def test_examples_do_not_depend_on_each_other() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1)).eval()
    x, target = torch.randn(7, 6), torch.randint(3, (7,))
    attack = robust.PGD(model, nn.CrossEntropyLoss(), lower_bound=-1.0)
    options: dict[str, Any] = {"radius": 0.5, "step_size": 0.2, "step_num": 3, "norm": "L2"}
    whole = attack.perturb(x, target=target, **options)
    alone: list[Any] = [
        attack.perturb(x[i : i + 1], target=target[i : i + 1], **options) for i in range(7)
    ]
    assert_same(whole, torch.cat(alone))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_attacks_keep_the_dtype(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)).to(dtype)
    x = torch.rand(2, 4, dtype=dtype)
    options: dict[str, Any] = {"radius": 0.2, "step_size": 0.1, "step_num": 2, "target": 1}
    found = robust.PGD(model).perturb(x, norm="L2", random_start=True, **options)
    assert isinstance(found, Tensor)
    assert found.dtype is dtype
    assert not torch.equal(found, x)


def test_inputs_are_left_as_they_were() -> None:
    x = ROW.clone().requires_grad_()
    found = robust.FGSM(BasicModel()).perturb(x, 0.1, 1)
    assert isinstance(found, Tensor)
    assert x.requires_grad
    assert x.grad is None
    assert not found.requires_grad
    assert torch.equal(x.detach(), ROW)


def test_wrong_arguments_are_named() -> None:
    model = BasicModel()
    step: dict[str, Any] = {"radius": 0.1, "step_size": 0.1, "target": 0}
    with pytest.raises(AssertionError, match="norm is 'L1'"):
        robust.PGD(model).perturb(ROW, step_num=1, norm="L1", **step)
    with pytest.raises(InvalidInput, match="step_num is -1"):
        robust.PGD(model).perturb(ROW, step_num=-1, **step)
    with pytest.raises(InvalidInput, match=r"mask\[0\] is of shape \(1, 3\)"):
        robust.FGSM(model).perturb(ROW, 0.1, 0, mask=torch.ones(1, 3))
    with pytest.raises(InvalidInput, match="mask is 1 of them"):
        robust.FGSM(BasicModel2()).perturb(TWO, 0.1, 0, mask=torch.ones(1, 2))
    with pytest.raises(InvalidInput, match=r"one that returns \(1, 5\)"):
        robust.FGSM(model, lambda out, _: out).perturb(ROW, 0.1, 0)
    with pytest.raises(InvalidInput, match="one of tensors"):
        robust.FGSM(model, lambda *_: 3.0).perturb(ROW, 0.1, 0)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="give a loss_func"):
        robust.FGSM(lambda x: (x, x)).perturb(ROW, 0.1, 0)
    with pytest.raises(UnfitModel, match="training mode"):
        robust.FGSM(nn.Sequential(nn.Dropout())).perturb(ROW, 0.1, 0)


def test_targets_of_losses_are_cut_with_the_rows() -> None:
    """Also lists, and functions of one number for the batch that look at lists."""
    torch.manual_seed(0)
    model = nn.Linear(3, 4).eval()
    x, target = torch.randn(300, 3), [i % 4 for i in range(300)]

    def loss(outputs: Tensor, labels: list[int]) -> Tensor:
        assert len(labels) == len(outputs)
        return functional.cross_entropy(outputs, torch.tensor(labels))

    mine = robust.FGSM(model, loss).perturb(x, 0.1, target)
    theirs = silently(captum.FGSM(model, ENTROPY).perturb, x, 0.1, torch.tensor(target))
    assert_same(mine, theirs)
