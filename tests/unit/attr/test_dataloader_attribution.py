"""DataLoaderAttribution."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from captum import attr as captum
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from adcaptum.attr import DataLoaderAttribution, FeatureAblation, InputRole, Saliency
from tests.captum_oracle import assert_same, silently


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


DATA = TensorDataset(rows(11, 4), rows(11, 2, 3, seed=1), (rows(11, seed=2) > 0).float())
ROLES = (InputRole.need_attr, InputRole.need_attr, InputRole.no_forward)


def forward(a: Tensor, b: Tensor) -> Tensor:
    return (a.sum(1) * b.sum((1, 2))).tanh()


def hits(state: Tensor | None, output: Tensor, batch: tuple[Any, ...]) -> Tensor:
    found = (output * batch[2]).sum()
    return found if state is None else state + found


class Counted:
    """A loader that counts how often it is gone through."""

    def __init__(self, dataset: Any = DATA) -> None:
        self.passes = 0
        self._loader: DataLoader[Any] = DataLoader(dataset, batch_size=4)

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self._loader)


CASES: dict[str, dict[str, Any]] = {
    "concatenated": {},
    "two explained of three": {"input_roles": (0, 1, 2)},
    "reduced": {"reduce": hits},
    "metric": {"reduce": hits, "to_metric": lambda s: torch.stack([s, s**2])},
    "metric of two dimensions": {
        "reduce": hits,
        "to_metric": lambda s: torch.stack([s, s**2]).reshape(2, 1),
    },
    "baselines": {"baselines": (torch.ones(1, 4), 0.5)},
    "masks": {
        "feature_mask": (torch.tensor([[0, 0, 1, 4]]), torch.tensor([[[0, 1, 1], [2, 2, 4]]]))
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize("per_pass", [1, 3, 100])
@pytest.mark.parametrize("shape", [True, False])
def test_it_is_captums(case: dict[str, Any], per_pass: int, *, shape: bool) -> None:
    def answer(kind: Any, method: Any) -> Any:
        return silently(
            kind(method).attribute,
            DataLoader(DATA, batch_size=4),
            perturbations_per_pass=per_pass,
            return_input_shape=shape,
            **({"input_roles": ROLES} | case),
        )

    mine = answer(DataLoaderAttribution, FeatureAblation(forward))
    assert_same(mine, answer(captum.DataLoaderAttribution, captum.FeatureAblation(forward)))


@pytest.mark.parametrize(("per_pass", "passes"), [(1, 11), (4, 3), (11, 1), (100, 1)])
def test_the_data_are_gone_through_as_often_as_asked_and_no_more(
    per_pass: int, passes: int
) -> None:
    loader = Counted()
    DataLoaderAttribution(FeatureAblation(forward)).attribute(
        loader, ROLES, reduce=hits, perturbations_per_pass=per_pass
    )
    assert loader.passes == passes


def test_a_bare_tensor_gives_a_tensor_and_a_list_a_tuple() -> None:
    method = DataLoaderAttribution(FeatureAblation(lambda x: x.sum(1)))
    bare = method.attribute(DataLoader(rows(5, 3), batch_size=2))  # type: ignore[arg-type]
    listed = method.attribute(DataLoader(TensorDataset(rows(5, 3)), batch_size=2))
    assert isinstance(bare, Tensor)
    assert isinstance(listed, tuple)
    torch.testing.assert_close(bare, rows(5, 3))
    torch.testing.assert_close(listed[0], bare)


class Stream(IterableDataset[Tensor]):
    """Batches that are remembered weakly."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.alive: list[weakref.ref[Tensor]] = []
        self.most = 0

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(self.length):
            batch = rows(4, 3, seed=i)
            self.alive = [ref for ref in self.alive if ref() is not None]
            self.alive.append(weakref.ref(batch))
            self.most = max(self.most, len(self.alive))
            yield batch


def test_batches_are_let_go() -> None:
    def most(length: int) -> int:
        gc.collect()
        stream = Stream(length)
        DataLoaderAttribution(FeatureAblation(lambda x: x.sum())).attribute(
            DataLoader(stream, batch_size=None),
            reduce=lambda s, out, _: out if s is None else s + out,
            perturbations_per_pass=2,
        )
        return stream.most

    assert most(60) == most(6) <= 3


@pytest.mark.parametrize("dataset", [rows(8, 3), Stream(2)], ids=["sized", "stream"])
def test_a_bar_of_batches_reaches_its_end(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    size = None if isinstance(dataset, Stream) else 4
    DataLoaderAttribution(FeatureAblation(lambda x: x.sum(1))).attribute(
        DataLoader(dataset, batch_size=size), perturbations_per_pass=2, show_progress=True
    )
    assert "Data Loader Attribution attribution: 100%" in capsys.readouterr().err


def test_a_baseline_that_is_not_a_number_does_not_leak() -> None:
    """B25: Captum multiplies by zeros."""
    answer = DataLoaderAttribution(
        FeatureAblation(lambda x: x.nan_to_num(nan=-1).sum(1))
    ).attribute(
        DataLoader(torch.tensor([[1.0, 2.0]]), batch_size=1),  # type: ignore[arg-type]
        baselines=torch.tensor([[0.0, torch.nan]]),
    )
    torch.testing.assert_close(answer, torch.tensor([[1.0, 3.0]]))


def test_doubles_stay_doubles_and_nothing_has_a_graph() -> None:
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    answer = DataLoaderAttribution(FeatureAblation(lambda x: x.sum(1) * weight)).attribute(
        DataLoader(rows(3, 2).double(), batch_size=2)  # type: ignore[arg-type]
    )
    assert isinstance(answer, Tensor)
    assert answer.dtype == torch.float64
    assert not answer.requires_grad
    torch.testing.assert_close(answer, rows(3, 2).double(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_roles": (0, 0)},
        {"input_roles": (1, 1, 2)},
        {"input_roles": ROLES, "baselines": 0},
        {"input_roles": ROLES, "baselines": (torch.zeros(2, 4), 0)},
        {"input_roles": ROLES, "feature_mask": torch.zeros(1, 4).long()},
        {"input_roles": ROLES, "feature_mask": (torch.zeros(4).long(), torch.zeros(2, 3).long())},
        {"input_roles": ROLES, "perturbations_per_pass": 0},
        {"input_roles": ROLES, "to_metric": float, "reduce": hits},
    ],
    ids=range(8),
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        DataLoaderAttribution(FeatureAblation(forward)).attribute(
            DataLoader(DATA, batch_size=4), **wrong
        )


def test_only_feature_ablation_is_taken() -> None:
    with pytest.raises(AssertionError, match="a FeatureAblation"):
        DataLoaderAttribution(Saliency(forward))


def test_a_mask_of_floats_has_whole_numbers() -> None:
    method = DataLoaderAttribution(FeatureAblation(lambda a: a.sum(1)))
    loader = DataLoader(TensorDataset(rows(6, 4)), batch_size=4)
    mask = torch.tensor([[0, 0, 1, 2]])
    whole = method.attribute(loader, feature_mask=(mask,))
    assert_same(method.attribute(loader, feature_mask=(mask.float(),)), whole)
    with pytest.raises(AssertionError, match="whole numbers"):
        method.attribute(loader, feature_mask=(mask / 2,))
