"""How features are grouped by where they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adcaptum.engine.games.features import Features
from adcaptum.engine.methods.shapley.hierarchy import Group, Hierarchy, fewest_splits
from adcaptum.engine.vocabulary.explicand import Explicand


def hierarchy(*shapes: tuple[int, ...], masks: tuple[Tensor, ...] | None = None) -> Hierarchy:
    """The hierarchy of inputs of those shapes."""
    inputs = tuple(torch.zeros(1, *shape) for shape in shapes)
    return Hierarchy.of(Features.of(Explicand.of(inputs, feature_mask=masks), inputs))


def halves(group: Group) -> tuple[list[int], list[int]]:
    first, second = group.halves
    return first.members.tolist(), second.members.tolist()


def singles(group: Group) -> list[int]:
    """The features at the end of all cuts."""
    if len(group) == 1:
        return group.members.tolist()
    return [feature for half in group.halves for feature in singles(half)]


def test_a_vector_is_cut_along_its_order() -> None:
    root = hierarchy((7,)).root
    assert halves(root) == ([0, 1, 2], [3, 4, 5, 6])
    assert halves(root.halves[1]) == ([3, 4], [5, 6])


def test_an_image_is_cut_across_its_longer_side_and_its_channels_last() -> None:
    root = hierarchy((3, 2, 4)).root
    numbers = torch.arange(24).view(3, 2, 4)
    assert halves(root) == tuple(sorted(t.flatten().tolist()) for t in numbers.split(2, 2))
    # A square of pixels: rows first, then the two pixels, then the channels of one.
    square = root.halves[0]
    assert halves(square)[0] == numbers[:, 0, :2].flatten().sort().values.tolist()
    pixel = square.halves[0].halves[0]
    assert pixel.members.tolist() == [0, 8, 16]
    assert halves(pixel) == ([0], [8, 16])


def test_tokens_are_cut_before_the_components_of_their_embeddings() -> None:
    root = hierarchy((4, 100)).root
    assert halves(root) == (list(range(200)), list(range(200, 400)))
    token = root.halves[0].halves[0]
    assert token.members.tolist() == list(range(100))
    assert halves(token) == (list(range(50)), list(range(50, 100)))


def test_inputs_are_told_apart_first() -> None:
    root = hierarchy((2,), (1, 8, 8)).root
    assert halves(root) == ([0, 1], list(range(2, 66)))


def test_a_masks_features_are_grouped_by_where_they_are() -> None:
    # Numbered at random, in a grid of three rows and three columns of two by two pixels.
    grid = torch.tensor([[5, 2, 8], [0, 7, 1], [3, 6, 4]])
    mask = grid.repeat_interleave(2, 0).repeat_interleave(2, 1)[None, None]
    root = hierarchy((1, 6, 6), masks=(mask,)).root
    # Not in the middle, which would cut through a row.
    assert halves(root) == (sorted(grid[0].tolist()), sorted(grid[1:].flatten().tolist()))
    assert halves(root.halves[1]) == ([0, 3], sorted([7, 1, 6, 4]))


def test_a_feature_of_two_inputs_is_where_it_is_first() -> None:
    masks = (torch.tensor([[0, 1, 1]]), torch.tensor([[0, 2]]))
    assert halves(hierarchy((3,), (2,), masks=masks).root) == ([0, 1], [2])


def test_features_at_one_place_are_cut_by_their_numbers() -> None:
    masks = (torch.tensor([[0, 1, 2, 3, 3, 2, 1, 0]]),)
    assert halves(hierarchy((8,), masks=masks).root) == ([0, 1], [2, 3])


@pytest.mark.parametrize("shape", [(), (1,), (13,), (5, 3), (3, 7, 5), (2, 3, 4, 5)])
def test_every_feature_ends_alone(shape: tuple[int, ...]) -> None:
    tree = hierarchy(shape)
    assert sorted(singles(tree.root)) == list(range(len(tree.places)))


def contexts(group: Group, depth: int = 0) -> int:
    """How many splits there are: of each group, with each choice of what came before."""
    if len(group) == 1:
        return 0
    return 2**depth + sum(contexts(half, depth + 1) for half in group.halves)


@pytest.mark.parametrize("features", [1, 2, 3, 8, 21])
def test_splits_are_counted_with_and_without_the_other_halves(features: int) -> None:
    tree = Hierarchy.line(features)
    assert tree.splits(10**9) == contexts(tree.root)
    assert tree.splits(5) == min(5, contexts(tree.root))


@pytest.mark.parametrize("features", [1, 2, 3, 8, 21, 64])
def test_no_hierarchy_has_fewer_splits_than_halves_of_halves(features: int) -> None:
    most = contexts(Hierarchy.line(features).root)
    assert fewest_splits(features) <= most
    if features.bit_count() == 1:
        assert fewest_splits(features) == most


def test_counting_splits_stops_early() -> None:
    # To the end it would make 150,528 groups.
    assert hierarchy((3, 224, 224)).splits(249) == 249


def test_an_examples_hierarchy_has_the_features_that_it_has() -> None:
    masks = torch.tensor([[0, 0, 1, 1], [7, 8, 9, 9]])
    inputs = (torch.zeros(2, 4),)
    features = Features.of(Explicand.of(inputs, feature_mask=masks), inputs)
    assert Hierarchy.of(features, 0).root.members.tolist() == [0, 1]
    assert Hierarchy.of(features, 1).root.members.tolist() == [2, 3, 4]
