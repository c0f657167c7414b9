"""What may share a batch, and how large batches are learnt to be: keys of evaluations."""

import pytest
import torch
from torch import nn

from adcaptum.engine import METHODS, Explicand, Neuron, Site, explain
from adcaptum.engine.vocabulary.evaluation import Target
from adcaptum.engine.vocabulary.parameters import resolve

SITE = Site("0")
INPUTS = torch.linspace(-1, 1, 8).reshape(2, 4)


def _key(target: Target | int) -> object:
    given = target if isinstance(target, Neuron) else int(str(target))
    return Explicand.of(INPUTS, target=given).at_inputs(gradient=True).key


@pytest.mark.parametrize("index", [(1,), (slice(None),), (slice(0, 2),), (slice(0, 3, 2),)])
def test_questions_about_the_same_neurons_have_equal_keys(
    index: tuple[int | slice, ...],
) -> None:
    one, other = (_key(Neuron(SITE, index)) for _ in range(2))

    assert one == other
    assert hash(one) == hash(other)


def test_questions_about_other_blocks_of_neurons_have_other_keys() -> None:
    assert _key(Neuron(SITE, (slice(0, 2),))) != _key(Neuron(SITE, (slice(0, 3),)))


def test_a_target_does_not_change_the_key() -> None:
    assert _key(0) == _key(1)


def test_questions_about_blocks_of_neurons_learn_batch_sizes_together() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    method = resolve(METHODS["neuron_conductance"], {"n_steps": 8})
    batches: list[list[int]] = []
    for _ in range(6):
        batches.append([])
        question = Explicand.of(INPUTS, target=1, at=SITE)
        explain(model, method, question, on_rows=batches[-1].append)

    assert len(batches[-1]) < len(batches[0])


def test_a_row_of_small_inputs_is_known_to_be_small() -> None:
    key = Explicand.of(INPUTS, target=0).at_inputs().key

    assert key.row_bytes == 4 * INPUTS.element_size()
