"""EfficientNet-Lite0, the image classifier without squeeze-and-excitation.

The stages are those of Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks" (2019), table 1, as the Lite variant of the authors' TensorFlow code has them: no squeeze
and excitation, and ReLU6 in place of swish.
"""

from typing import Final

import torch
from torch import Tensor, nn

# Repeats, kernel size, stride of the first, expansion, channels out.
STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS: Final = 32
HEAD_CHANNELS: Final = 1280
NORM_EPSILON: Final = 1e-3


class PixelNormalisation(nn.Module):
    """Maps pixels in 0..1 to the scale of the training images, `(255 x - 127) / 128`."""

    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(127 / 255))
        self.register_buffer("scale", torch.tensor(128 / 255))

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns `(pixels - mean) / scale`, of the same shape."""
        return (pixels - self.mean) / self.scale


class Stage(nn.Module):
    """A convolution, batch normalisation and, unless the stage is linear, ReLU6.

    With stride 2 the padding is TensorFlow's "same", which puts the odd row and column after the
    picture, not before it; the weights were trained so.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        total = kernel_size - stride
        before, after = total // 2, total - total // 2
        self.pad = nn.ZeroPad2d((before, after, before, after)) if total else nn.Identity()
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=NORM_EPSILON)
        self.relu = nn.Identity() if linear else nn.ReLU6()

    def forward(self, features: Tensor) -> Tensor:
        """Maps `(rows, in_channels, h, w)` to `(rows, out_channels, h / stride, w / stride)`."""
        return self.relu(self.norm(self.convolution(self.pad(features))))


class InvertedResidual(nn.Module):
    """Expands the channels, convolves each by itself, projects; adds the input if it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = nn.Identity() if expansion == 1 else Stage(in_channels, hidden, 1)
        self.depthwise = Stage(hidden, hidden, kernel_size, stride=stride, groups=hidden)
        self.project = Stage(hidden, out_channels, 1, linear=True)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Maps `(rows, in_channels, h, w)` to `(rows, out_channels, h / stride, w / stride)`."""
        projected = self.project(self.depthwise(self.expand(features)))
        return projected + features if self.residual else projected


class EfficientNetLite(nn.Module):
    """Pixels in 0..1 to logits; `head` gives the last feature maps, `(rows, 1280, 7, 7)` at 224."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.normalise = PixelNormalisation()
        self.stem = Stage(3, STEM_CHANNELS, 3, stride=2)
        self.blocks = nn.Sequential()
        channels = STEM_CHANNELS
        for repeats, kernel_size, first_stride, expansion, out_channels in STAGES:
            for repeat in range(repeats):
                stride = 1 if repeat else first_stride
                self.blocks.append(
                    InvertedResidual(channels, out_channels, kernel_size, stride, expansion)
                )
                channels = out_channels
        self.head = Stage(channels, HEAD_CHANNELS, 1)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(HEAD_CHANNELS, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels `(rows, 3, height, width)` in 0..1 to logits `(rows, classes)`."""
        features = self.head(self.blocks(self.stem(self.normalise(pixels))))
        return self.classify(self.flatten(self.average(features)))


def build(classes: int = 1000) -> nn.Module:
    """Returns the network in evaluation mode, its weights not loaded yet."""
    return EfficientNetLite(classes).eval()
