"""A small residual network on 8 x 8 handwritten digits."""

from torch import Tensor, nn


class ConvolutionNorm(nn.Module):
    """A convolution without bias, then batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Maps `(rows, in_channels, height, width)` to `(rows, out_channels, height, width)`."""
        return self.norm(self.convolution(features))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, a convolution too where the channels change."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvolutionNorm(in_channels, out_channels, 3)
        self.relu_1 = nn.ReLU()
        self.second = ConvolutionNorm(out_channels, out_channels, 3)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = ConvolutionNorm(in_channels, out_channels, 1)
        self.relu_2 = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Maps `(rows, in_channels, height, width)` to `(rows, out_channels, height, width)`."""
        residual = self.second(self.relu_1(self.first(features)))
        return self.relu_2(residual + self.shortcut(features))


class DigitClassifier(nn.Module):
    """A stem, two residual blocks with an overlapping max-pool between them, a linear head."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = ConvolutionNorm(1, channels, 3)
        self.relu = nn.ReLU()
        self.block_1 = ResidualBlock(channels, channels)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.block_2 = ResidualBlock(channels, 2 * channels)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(2 * channels, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels `(rows, 1, 8, 8)` in 0..1 to logits `(rows, classes)`."""
        features = self.block_1(self.relu(self.stem(pixels)))
        features = self.block_2(self.pool(features))
        return self.classify(self.flatten(self.average(features)))


def build(channels: int = 24, classes: int = 10) -> nn.Module:
    """Returns the network in evaluation mode, its weights not loaded yet."""
    return DigitClassifier(channels, classes).eval()
