"""A multilayer perceptron on measurements of cell nuclei, in their units of measurement."""

import torch
from torch import Tensor, nn


class Standardisation(nn.Module):
    """Shifts and scales each feature.

    It is part of the model so that attributions are to features in the user's units.

    Attributes:
        mean: `(features,)`, subtracted.
        scale: `(features,)`, divided by.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, measurements: Tensor) -> Tensor:
        """Returns `(measurements - mean) / scale`, `(rows, features)`."""
        return (measurements - self.mean) / self.scale


class CellClassifier(nn.Module):
    """Two hidden layers of rectified units over standardised measurements."""

    def __init__(self, features: int, width: int, classes: int) -> None:
        super().__init__()
        self.standardise = Standardisation(features)
        self.hidden_1 = nn.Linear(features, width)
        self.relu_1 = nn.ReLU()
        self.hidden_2 = nn.Linear(width, width)
        self.relu_2 = nn.ReLU()
        self.classify = nn.Linear(width, classes)

    def forward(self, measurements: Tensor) -> Tensor:
        """Maps measurements `(rows, features)` to logits `(rows, classes)`."""
        hidden = self.relu_1(self.hidden_1(self.standardise(measurements)))
        return self.classify(self.relu_2(self.hidden_2(hidden)))


def build(features: int = 30, width: int = 128, classes: int = 2) -> nn.Module:
    """Returns the network in evaluation mode, its weights not loaded yet."""
    return CellClassifier(features, width, classes).eval()
