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
    """Returns the nodes that a gradient of the tensor passes through, up to the nodes `before`."""
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
    """Returns the names of operations among the nodes that no handler has replaced.

    Args:
        nodes: Nodes of an autograd graph.
        hidden: Operations that the rule always replaces, by the lower-case name of their node.
    """
    names = set()
    for kind in {type(node) for node in nodes}:
        name = kind.__name__
        if issubclass(kind, BackwardCFunction):
            # torch derives the node's class from the function's class, and keeps the latter here.
            function: type = vars(kind)["_forward_cls"]
            if not function.__module__.startswith(_OWN):
                names.add(name.removesuffix("Backward"))
        elif name == _SCRIPTED:
            names.add("scripted module")
        elif (operation := name.partition("Backward")[0].lower()) in hidden:
            names.add(hidden[operation])
    return names
