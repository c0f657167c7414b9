"""Networks of the kinds that people explain, small, in float64, and functional twins of some."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """A residual block: two convolutions, one in-place ReLU used twice."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.second(self.relu(self.norm1(self.first(x)))))
        y += self.shortcut(x)
        return self.relu(y)


def resnet() -> nn.Module:
    """ResNet-18's form: the stem with its overlapping pooling, then residual stages."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        BasicBlock(4, 4, 1),
        BasicBlock(4, 6, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


def vgg() -> nn.Module:
    """VGG's form: convolutions, pooling by two, and a classifier with dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.AdaptiveMaxPool2d(3),
        nn.Flatten(),
        nn.Linear(54, 8),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(8, 4),
    )


def mobilenet() -> nn.Module:
    """MobileNet's form: depthwise convolutions, ReLU6 and hard-swish."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(inplace=True),
        nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False),
        nn.BatchNorm2d(6),
        nn.Hardswish(inplace=True),
        nn.Conv2d(6, 8, 1),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


class UNet(nn.Module):
    """U-Net's form: down, up again, and a concatenation of both."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)
        self.last = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        here = F.silu(self.down(x))
        below = F.leaky_relu(self.middle(F.max_pool2d(here, 2)))
        above = F.interpolate(self.up(below), size=here.shape[2:], mode="bilinear")
        return self.last(torch.cat([here, above], 1)).tanh().mean((2, 3))


class ReusedRelu(nn.Module):
    """One ReLU module used twenty times."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(20))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + self.relu(layer(x))
        return x


ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Sigmoid,
    nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LeakyReLU, nn.PReLU, nn.LogSigmoid,
    nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.RReLU,
)  # fmt: skip


def every_activation() -> nn.Module:
    """A perceptron with every activation there is, one after another."""
    layers: list[nn.Module] = []
    for activation in ACTIVATIONS:
        # Normalised, so that there is something left at the end.
        layers += [nn.Linear(8, 8), nn.LayerNorm(8), activation()]
    return nn.Sequential(*layers, nn.Threshold(0.05, 0.02), nn.Linear(8, 4))


class Encoder(nn.Module):
    """A transformer encoder as torch has it, rows first or time first, and a head."""

    def __init__(
        self, *, rows_first: bool = True, norm_first: bool = False, activation: str = "gelu"
    ) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            8, 2, 16, activation=activation, batch_first=rows_first, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)
        self.rows_first = rows_first

    def forward(self, x: Tensor) -> Tensor:
        if self.rows_first:
            return self.head(self.encoder(x).mean(1))
        return self.head(self.encoder(x.transpose(0, 1)).mean(0))


class AttentionBlock(nn.Module):
    """Attention written by hand: products, softmax over scores, root-mean-square norm, a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.RMSNorm(8)
        self.gate = nn.Linear(8, 32)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        scores = torch.einsum("bqd,bkd->bqk", self.query(y), self.key(y)) / 8**0.5
        y = torch.matmul(scores.softmax(-1), self.value(y)) + x
        return self.head(F.glu(self.gate(y)).amax(1))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """The network with weights that are always the same, in eval mode, in float64.

    Batch norms get statistics and weights as of training, of both signs.
    """
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = make().double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for buffer in (module.running_mean, module.running_var):
                    assert buffer is not None
                    buffer.copy_(torch.rand(buffer.shape) + 0.2)
                with torch.no_grad():
                    module.weight.normal_()
        return model.eval()


IMAGE, VECTOR, SEQUENCE = (3, 16, 16), (8,), (5, 8)

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet": (resnet, IMAGE),
    "vgg": (vgg, IMAGE),
    "mobilenet": (mobilenet, IMAGE),
    "unet": (UNet, IMAGE),
    "every activation": (every_activation, VECTOR),
    "one relu twenty times": (ReusedRelu, VECTOR),
    "encoder": (Encoder, SEQUENCE),
    "encoder, time first": (lambda: Encoder(rows_first=False), SEQUENCE),
    "encoder, norm first": (lambda: Encoder(norm_first=True, activation="relu"), SEQUENCE),
    "attention block": (AttentionBlock, SEQUENCE),
}
"""By name: how each is made, and the shape of one row."""
