"""Recurrent layers, written out step by step as the operations that they consist of.

Torch's kernels hide these operations. Run with the interception on, each has its own handler: under
relevance propagation the signals get the relevance, not the gates of LSTM and GRU (Arras, Montavon,
Mueller, Samek 2017, https://arxiv.org/abs/1706.07206).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
Step = Callable[[Tensor, State, Weights], State]


class NotRecurrent(Exception):
    """The recurrence has a form that is not written out here: packed, projected, or dropout."""


def lstm_step(x: Tensor, state: State, weights: Weights) -> State:
    """One step of an LSTM, to hidden and cell state; x is already multiplied by its weights."""
    hidden, cell = state
    gates = x + functional.linear(hidden, weights[1], weights[3])
    enter, keep, new, leave = gates.chunk(4, -1)
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def gru_step(x: Tensor, state: State, weights: Weights) -> State:
    """One step of a GRU."""
    (hidden,) = state
    reset_x, update_x, new_x = x.chunk(3, -1)
    reset_h, update_h, new_h = functional.linear(hidden, weights[1], weights[3]).chunk(3, -1)
    new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
    update = torch.sigmoid(update_x + update_h)
    return ((1 - update) * new + update * hidden,)


def tanh_step(x: Tensor, state: State, weights: Weights) -> State:
    """One step of a plain recurrence with tanh."""
    return (torch.tanh(x + functional.linear(state[0], weights[1], weights[3])),)


def relu_step(x: Tensor, state: State, weights: Weights) -> State:
    """One step of a plain recurrence with ReLU."""
    return (torch.relu(x + functional.linear(state[0], weights[1], weights[3])),)


def layers(step: Step) -> Callable[..., tuple[Tensor, ...]]:
    """Returns the body of `torch.lstm`, `gru`, `rnn_tanh` or `rnn_relu`: all layers, all steps.

    Raises:
        NotRecurrent: For forms that are not written out.
    """

    def run(
        x: Tensor,
        states: Tensor | Sequence[Tensor],
        flat: Sequence[Tensor],
        biases: bool,
        count: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool = False,
    ) -> tuple[Tensor, ...]:
        directions, each = 1 + bidirectional, 4 if biases else 2
        written_out = isinstance(flat, list | tuple) and len(flat) == count * directions * each
        if not written_out or (train and dropout):
            raise NotRecurrent
        given = (states,) if isinstance(states, Tensor) else tuple(states)
        time = 1 if batch_first and x.dim() == 3 else 0
        ends: list[State] = []
        for layer in range(count):
            ways = []
            for direction in range(directions):
                at = layer * directions + direction
                w_x, w_h, *both = flat[at * each : (at + 1) * each]
                b_x, b_h = both if biases else (None, None)
                state: State = tuple(t[at] for t in given)
                steps = functional.linear(x, w_x, b_x).unbind(time)
                outputs = []
                for of_x in reversed(steps) if direction else steps:
                    state = step(of_x, state, (w_x, w_h, b_x, b_h))
                    outputs.append(state[0])
                ways.append(torch.stack(outputs[::-1] if direction else outputs, time))
                ends.append(state)
            x = ways[0] if directions == 1 else torch.cat(ways, -1)
        return (x, *(torch.stack(parts) for parts in zip(*ends, strict=True)))

    return run


def cell(step: Step) -> Callable[..., Any]:
    """Returns the body of `torch.lstm_cell` and its like: one step."""

    def run(
        x: Tensor,
        state: Tensor | Sequence[Tensor],
        w_x: Tensor,
        w_h: Tensor,
        b_x: Tensor | None = None,
        b_h: Tensor | None = None,
    ) -> Tensor | State:
        of_x = functional.linear(x, w_x, b_x)
        given = (state,) if isinstance(state, Tensor) else tuple(state)
        made = step(of_x, given, (w_x, w_h, b_x, b_h))
        return made[0] if isinstance(state, Tensor) else made

    return run


RECURRENCES: dict[str, Callable[..., Any]] = {
    "lstm": layers(lstm_step),
    "gru": layers(gru_step),
    "rnn_tanh": layers(tanh_step),
    "rnn_relu": layers(relu_step),
    "lstm_cell": cell(lstm_step),
    "gru_cell": cell(gru_step),
    "rnn_tanh_cell": cell(tanh_step),
    "rnn_relu_cell": cell(relu_step),
}
"""The body of each recurrent operation."""
