"""Search of the autograd graph for operations that no handler has answered."""

from __future__ import annotations

from collections.abc import Mapping, Set as AbstractSet
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

Node = Any

_OWN = "adcaptum."
_SCRIPTED = "CppFunction"


def nodes_behind(tensor: Tensor, before: AbstractSet[Node] = frozenset()) -> set[Node]:
    """Nodes that a gradient of the tensor passes through, up to the nodes `before`."""
    if tensor.grad_fn is None or tensor.grad_fn in before:
        return set()
    seen: set[Node] = {tensor.grad_fn}
    waiting: list[Node] = [tensor.grad_fn]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in seen and node not in before:
                seen.add(node)
                waiting.append(node)
    return seen


def unhandled_operations(nodes: set[Node], hidden: Mapping[str, str]) -> set[str]:
    """Names of the operations whose nodes no handler has left in the graph.

    Args:
        nodes: Of a graph.
        hidden: Operations that leave no node of their own, by the node's name in small letters.
    """
    names = set()
    for kind in {type(node) for node in nodes}:
        name = kind.__name__
        if issubclass(kind, BackwardCFunction):
            # torch makes the node's class from the function's, and keeps that one there.
            function: type = vars(kind)["_forward_cls"]
            if not function.__module__.startswith(_OWN):
                names.add(name.removesuffix("Backward"))
        elif name == _SCRIPTED:
            names.add("scripted module")
        elif (operation := name.partition("Backward")[0].lower()) in hidden:
            names.add(hidden[operation])
    return names
