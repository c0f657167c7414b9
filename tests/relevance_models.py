"""Networks through which relevance is propagated: each as modules, most as functions too."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A model in float64 and eval mode; its batch norms have seen data of some kind."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make().double().eval()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 1.5)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        return model


def unbiased(model: nn.Module) -> nn.Module:
    """The model without biases, which keep relevance, and with batch norms that only scale."""
    with torch.no_grad():
        for module in model.modules():
            for name in ("bias", "running_mean", "in_proj_bias"):
                value = getattr(module, name, None)
                if isinstance(value, Tensor):
                    value.zero_()
    return model


class BasicBlock(nn.Module):
    """ResNet's block: in-place ReLU used twice, in-place addition, projection where needed."""

    def __init__(self, inward: int, outward: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outward)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outward)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward)
            )
            if inward != outward
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


def resnet() -> nn.Module:
    """ResNet-18's form, small: an overlapping stem pool, residual blocks, batch norm."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        BasicBlock(4, 4),
        BasicBlock(4, 6, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


def vgg(bias: bool = True) -> nn.Module:
    """VGG's form, small."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 10, bias=bias),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(10, 4, bias=bias),
    )


class Flattening(nn.Module):
    """A CNN whose forward flattens: Captum has no rule for `nn.Flatten`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        self.head = nn.Sequential(nn.Linear(128, 10), nn.ReLU(), nn.Linear(10, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1))


def mobilenet() -> nn.Module:
    """MobileNet's form, small: ReLU6, depthwise convolution."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(inplace=True),
        nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(inplace=True),
        nn.Conv2d(6, 8, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


class UNet(nn.Module):
    """Down, up by a transposed convolution, concatenated with what was there, and up once more."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, padding=1)
        self.deep = nn.Conv2d(4, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)
        self.out = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = functional.relu(self.down(x))
        up = functional.relu(self.up(functional.relu(self.deep(functional.max_pool2d(skip, 2)))))
        both = functional.leaky_relu(self.out(torch.cat([skip, up], 1)))
        return functional.interpolate(both, scale_factor=2, mode="bilinear").mean((2, 3))


class Gated(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.squeeze = nn.Linear(4, 4)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.silu(self.conv(x))
        weights = torch.sigmoid(self.squeeze(h.mean((2, 3)))).view(len(x), -1, 1, 1)
        return self.head((h * weights).mean((2, 3)))


class OneReLU(nn.Module):
    """One ReLU, used twenty times."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(20))
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + self.relu(layer(x))
        return self.head(x)


class Activations(nn.Module):
    """An MLP with every activation that has f(0) = 0, after each other."""

    def __init__(self) -> None:
        super().__init__()
        kinds: tuple[type[nn.Module], ...] = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU)
        kinds += (nn.GELU, nn.SiLU, nn.Mish)
        kinds += (
            nn.Tanh,
            nn.Softsign,
            nn.Hardtanh,
            nn.Hardswish,
            nn.PReLU,
            nn.Tanhshrink,
            nn.RReLU,
        )
        self.kinds = nn.ModuleList(kind() for kind in kinds)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in kinds)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer, activation in zip(self.layers, self.kinds, strict=True):
            x = activation(layer(x))
        return self.head(x)


class Encoder(nn.Module):
    """A stock transformer encoder over (rows, time, features)."""

    def __init__(self, activation: str = "gelu", *, norm_first: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            8, 2, 16, activation=activation, batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class SelfAttention(nn.Module):
    """An attention block with a residual, as `nn.MultiheadAttention` or written out."""

    def __init__(self, form: str = "module") -> None:
        super().__init__()
        self.form = form
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return self.head((x + self._attend(h)).mean(1))

    def _attend(self, h: Tensor) -> Tensor:
        if self.form in {"module", "weights"}:
            return self.attention(h, h, h, need_weights=self.form == "weights")[0]
        rows, time, features = h.shape
        packed = functional.linear(h, self.attention.in_proj_weight, self.attention.in_proj_bias)
        q, k, v = (
            part.view(rows, time, 2, features // 2).transpose(1, 2) for part in packed.chunk(3, -1)
        )
        if self.form == "fused":
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            scores = q @ k.transpose(-2, -1) / (features // 2) ** 0.5
            mixed = scores.softmax(-1) @ v
        mixed = mixed.transpose(1, 2).reshape(rows, time, features)
        return self.attention.out_proj(mixed)


class Recurrent(nn.Module):
    """A recurrent layer over (rows, time, features), and its last output."""

    def __init__(self, layer: nn.RNNBase, *, packed: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.packed = packed
        self.head = nn.Linear(5 * (1 + layer.bidirectional), 4)

    def forward(self, x: Tensor) -> Tensor:
        if not self.packed:
            return self.head(self.layer(x)[0][:, -1])
        lengths = torch.full((len(x),), x.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        return self.head(outputs[:, -1])


def by_cells(model: nn.Module, x: Tensor) -> Tensor:
    """`Recurrent` of one layer, as cells with the layer's weights."""
    assert isinstance(model, Recurrent)
    layer = model.layer
    kind = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell, "RNN_TANH": nn.RNNCell}[layer.mode]
    cell = kind(8, 5).to(x.dtype)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    state = None
    for step in x.unbind(1):
        state = cell(step, state)
    return model.head(state[0] if isinstance(state, tuple) else state)


class Functional(nn.Module):
    """Another model's forward as calls of functions on its weights."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.model, x)


def functional_vgg(model: nn.Module, x: Tensor) -> Tensor:
    """`vgg` without calling a module; linear layers as products of matrices."""
    first, second, third, fourth = (model[i] for i in (0, 3, 7, 10))  # type: ignore[index]
    h = torch.relu(torch.conv2d(x, first.weight, first.bias, padding=1))
    h = torch.max_pool2d(h, 2)
    h = functional.conv2d(h, second.weight, padding="same")
    h += second.bias.view(-1, 1, 1)
    h = functional.avg_pool2d(h.relu_(), 2).reshape(len(x), -1)
    h = torch.clamp(torch.addmm(third.bias, h, third.weight.t()), min=0)
    return h @ fourth.weight.T + fourth.bias


def folded(model: nn.Sequential) -> nn.Sequential:
    """A copy of a sequential model with each batch norm folded into the layer before it."""
    layers: list[nn.Module] = []
    for module in model:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            layers[-1] = _fused(layers[-1], module)
        else:
            layers.append(module)
    return nn.Sequential(*layers).eval()


def _fused(layer: nn.Module, norm: nn.modules.batchnorm._BatchNorm) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return torch.nn.utils.fuse_linear_bn_eval(layer, norm)
    assert isinstance(layer, nn.modules.conv._ConvNd)
    if not layer.transposed:
        return torch.nn.utils.fuse_conv_bn_eval(layer, norm)
    # torch's function does not know groups here: (in, out / groups, ...), the groups in the first.
    assert norm.running_mean is not None
    assert norm.running_var is not None
    copied = deepcopy(layer)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    inward, outward = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    with torch.no_grad():
        for i in range(layer.in_channels):
            for o in range(outward):
                copied.weight[i, o] *= scale[i // inward * outward + o]
        assert copied.bias is not None
        copied.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
    return copied
