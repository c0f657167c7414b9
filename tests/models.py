"""Small models that the tests explain."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mlp(features: int = 8, classes: int = 3, *, seed: int = 0) -> nn.Module:
    """A smooth classifier of vectors, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return (
            nn.Sequential(
                nn.Linear(features, 16),
                nn.Tanh(),
                nn.Linear(16, 16),
                nn.Softplus(),
                nn.Linear(16, classes),
            )
            .double()
            .eval()
        )


def signals(features: int = 8, classes: int = 3, *, seed: int = 0) -> nn.Module:
    """A smooth convolutional classifier of one-dimensional signals, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return (
            nn.Sequential(
                nn.Unflatten(1, (1, features)),
                nn.Conv1d(1, 4, 3, padding=1),
                nn.Softplus(),
                nn.Flatten(),
                nn.Linear(4 * features, classes),
            )
            .double()
            .eval()
        )


class Residual(nn.Module):
    """A block with batch norm, an in-place ReLU used twice, and a residual addition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.relu(self.norm(self.conv(x))))


def cnn(*, seed: int = 0) -> nn.Module:
    """A small residual CNN for 1x8x8 images, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.MaxPool2d(3, 2, 1),
            Residual(4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.load_state_dict(
                    {
                        **module.state_dict(),
                        "running_mean": torch.randn(4),
                        "running_var": torch.rand(4) + 0.5,
                    }
                )
        return model.double().eval()


class TwoInputs(nn.Module):
    """Multiplies two inputs' features, with a weight for each example and a scale for all."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 5)
        self.b = nn.Linear(3, 5)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor, scale: float = 1.0) -> Tensor:
        return torch.tanh(self.a(x)) * self.b(y).sigmoid() * weight[:, None] * scale


def two_inputs(*, seed: int = 0) -> nn.Module:
    """The model of two inputs, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TwoInputs().double().eval()


class TextClassifier(nn.Module):
    """Token ids to logits, with a mask, a recurrent layer (tuple output) and a dict output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.rnn = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        states, _ = self.rnn(self.embedding(ids))
        weights = mask.to(states.dtype).unsqueeze(-1)
        return {"logits": self.head((states * weights).sum(1) / weights.sum(1))}


def text_classifier(*, seed: int = 0) -> nn.Module:
    """The text classifier, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TextClassifier().double().eval()


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
