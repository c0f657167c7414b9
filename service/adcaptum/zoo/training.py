"""Reproducible training that restores torch's random state."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Report = Callable[[float], None]
"""A function that takes the fraction done, 0..1."""


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seeds torch's CPU generator and runs on one thread, so that sums keep their order."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def fit(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    epochs: int,
    batch_rows: int,
    learning_rate: float,
    weight_decay: float,
    report: Report,
) -> None:
    """Trains in place, by AdamW on cross-entropy at a one-cycle rate; ends in evaluation mode.

    Args:
        network: Maps rows of `inputs` to logits.
        inputs: `(rows, *features)`.
        targets: `(rows,)` class indices.
        epochs: Passes over the rows, each in a new order.
        batch_rows: Rows a step.
        learning_rate: The highest of the cycle.
        weight_decay: AdamW's.
        report: Called after each epoch.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    steps = -(-len(inputs) // batch_rows)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=learning_rate, total_steps=epochs * steps
    )
    network.train()
    for epoch in range(epochs):
        for rows in torch.randperm(len(inputs)).split(batch_rows):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[rows]), targets[rows]).backward()
            optimiser.step()
            schedule.step()
        report((epoch + 1) / epochs)
    network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Returns the fraction of rows whose largest logit is the target's."""
    return float((network(inputs).argmax(dim=1) == targets).float().mean())
