import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adcaptum.zoo import cells, digits, photos, reviews

ROWS = 3


def pixels(height: int, channels: int) -> tuple[Tensor, ...]:
    return (torch.rand(ROWS, channels, height, height),)


def tokens() -> tuple[Tensor, ...]:
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]])
    return torch.randint(1, 50, (ROWS, 6)) * mask, mask


def small_reviews() -> nn.Module:
    encoder = reviews.Encoder(words=50, positions=16, width=24, heads=3, hidden_width=48, depth=2)
    head = reviews.SentimentHead(width=24, hidden_width=8)
    return reviews.ReviewClassifier(encoder, head).eval()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]], int]] = {
    "cells": (cells.build, lambda: (torch.rand(ROWS, 30),), 2),
    "digits": (digits.build, lambda: pixels(8, 1), 10),
    "photos": (photos.build, lambda: pixels(64, 3), 1000),
    "reviews": (small_reviews, tokens, 2),
}


@pytest.fixture(params=NETWORKS, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[Tensor, ...], int]:
    make, inputs, classes = NETWORKS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(), inputs(), classes


Case = tuple[nn.Module, tuple[Tensor, ...], int]


def test_logits_have_a_row_an_input_and_a_column_a_class(case: Case) -> None:
    network, inputs, classes = case
    assert network(*inputs).shape == (ROWS, classes)


def test_the_network_is_in_evaluation_mode(case: Case) -> None:
    network, _, _ = case
    assert not any(module.training for module in network.modules())


def test_a_row_is_the_same_alone_and_in_a_batch(case: Case) -> None:
    network, inputs, _ = case
    alone = torch.cat([network(*(value[row : row + 1] for value in inputs)) for row in range(ROWS)])
    torch.testing.assert_close(network(*inputs), alone)


@pytest.mark.parametrize("case", ["cells", "digits", "photos"], indirect=True)
def test_a_row_has_no_gradient_from_another(case: Case) -> None:
    network, inputs, _ = case
    first = inputs[0].clone().requires_grad_()
    network(first)[0].sum().backward()
    assert first.grad is not None
    assert first.grad[0].abs().sum() > 0
    assert not first.grad[1:].any()


def test_the_forward_pass_leaves_its_input_and_its_buffers_alone(case: Case) -> None:
    network, inputs, _ = case
    before = [value.clone() for value in (*inputs, *network.buffers())]
    network(*inputs)
    for value, old in zip((*inputs, *network.buffers()), before, strict=True):
        assert torch.equal(value, old)


def test_no_module_writes_in_place(case: Case) -> None:
    network, _, _ = case
    in_place = [
        module
        for module in network.modules()
        if isinstance(module, nn.ReLU | nn.ReLU6) and module.inplace
    ]
    assert not in_place


def test_no_module_runs_twice(case: Case) -> None:
    network, inputs, _ = case
    ran: list[str] = []
    for name, module in network.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network(*inputs)
    assert len(ran) == len(set(ran))


def test_cells_are_standardised_inside() -> None:
    network = cells.build()
    assert isinstance(network, cells.CellClassifier)
    rows = torch.rand(ROWS, 30)
    plain = network(rows)
    mean, scale = torch.rand(30), 1 + torch.rand(30)
    network.standardise.mean.copy_(mean)
    network.standardise.scale.copy_(scale)
    torch.testing.assert_close(network(rows * scale + mean), plain, rtol=1e-4, atol=1e-5)


def test_pixels_are_normalised_inside() -> None:
    grey = torch.tensor([0.0, 127.0, 255.0]) / 255
    normalised = photos.PixelNormalisation()(grey)
    torch.testing.assert_close(normalised, torch.tensor([-127 / 128, 0.0, 1.0]))


def test_padding_does_not_change_a_text() -> None:
    network = small_reviews()
    token_ids = torch.tensor([[2, 7, 9, 3]])
    padded = nn.functional.pad(token_ids, (0, 8))
    torch.testing.assert_close(
        network(padded, (padded != 0).long()), network(token_ids, torch.ones_like(token_ids))
    )


def test_what_stands_under_the_padding_does_not_matter() -> None:
    network = small_reviews()
    token_ids = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 7, 9, 3, 11, 12]])
    first, second = network(token_ids, torch.tensor([[1, 1, 1, 1, 0, 0]]).expand(2, -1))
    torch.testing.assert_close(first, second)


def test_a_text_of_nothing_but_padding_gives_numbers() -> None:
    token_ids = torch.zeros(1, 4, dtype=torch.long)
    assert small_reviews()(token_ids, token_ids).isfinite().all()


@pytest.mark.slow
def test_a_server_that_imports_the_factories_imports_nothing_else_of_ours() -> None:
    script = (
        "import sys, torch; before = set(sys.modules);"
        "from adcaptum.zoo import cells, digits, photos, reviews;"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['adcaptum']"
