import torch
from torch import Tensor, nn

from adcaptum.zoo.training import accuracy, fit, reproducible


def trained(report: list[float]) -> tuple[nn.Module, Tensor, Tensor]:
    rows = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    classes = (rows[:, 0] > 0).long()
    with reproducible(seed=0):
        network = nn.Linear(2, 2)
        fit(
            network,
            rows,
            classes,
            epochs=4,
            batch_rows=8,
            learning_rate=0.1,
            weight_decay=0.0,
            report=report.append,
        )
    return network, rows, classes


def test_training_twice_gives_the_same_weights() -> None:
    first, second = (trained([])[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    trained([])
    assert torch.equal(torch.get_rng_state(), before)


def test_training_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    trained([])
    assert torch.get_num_threads() == before


def test_training_learns() -> None:
    assert accuracy(*trained([])) > 0.85


def test_training_ends_in_evaluation_mode() -> None:
    assert not trained([])[0].training


def test_training_tells_how_far_it_has_come() -> None:
    reports: list[float] = []
    trained(reports)
    assert reports == [0.25, 0.5, 0.75, 1.0]
