"""A network of ResNet-18's shape for 3 x 32 x 32 pixels, and a transformer for 64 tokens.

The weights are random: how long a network takes does not depend on what it has learnt.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

STEM_CHANNELS: Final = 16
VOCABULARY: Final = 1000
TOKENS: Final = 64
WIDTH: Final = 256
# Channels and stride of the first block of each stage; a second block follows.
STAGES: Final = ((16, 1), (32, 2), (48, 2), (72, 2))


class BasicBlock(nn.Module):
    """ResNet's: two convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(out_channels)
        self.relu_1 = nn.ReLU()
        self.conv_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(out_channels)
        self.relu_2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Maps `(rows, in_channels, h, w)` to `(rows, out_channels, h / stride, w / stride)`."""
        residual = self.norm_2(self.conv_2(self.relu_1(self.norm_1(self.conv_1(features)))))
        return self.relu_2(residual + self.shortcut(features))


class SmallResNet(nn.Module):
    """A stem, four stages of two residual blocks, average pooling, a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM_CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for out_channels, stride in STAGES:
            blocks += [
                BasicBlock(channels, out_channels, stride),
                BasicBlock(out_channels, out_channels, 1),
            ]
            channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(channels, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels `(rows, 3, 32, 32)` to logits `(rows, classes)`."""
        return self.classify(self.pool(self.blocks(self.stem(pixels))).flatten(1))


def build(classes: int = 10) -> nn.Module:
    """Returns the network in evaluation mode, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallResNet(classes).eval()


class Transformer(nn.Module):
    """Four encoder layers for 64 tokens, 3.2 million parameters beside the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(TOKENS, WIDTH))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, 4, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True
            )
            for _ in range(4)
        )
        self.classify = nn.Linear(WIDTH, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """Maps token ids `(rows, 64)` to logits `(rows, 2)`."""
        return self.from_embeddings(self.embedding(ids))

    def from_embeddings(self, embeddings: Tensor) -> Tensor:
        """Maps embeddings `(rows, 64, 256)` to logits `(rows, 2)`."""
        features = embeddings + self.places
        for layer in self.layers:
            features = layer(features)
        return self.classify(features.mean(1))


def build_transformer() -> Transformer:
    """Returns the transformer in evaluation mode, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Transformer().eval()
