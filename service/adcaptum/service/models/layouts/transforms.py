"""Changes to a copy of a model that make it faster: folding, memory format, precision."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import torch
from torch import nn

from adcaptum.service.device.float32 import InTF32
from adcaptum.service.models.declaration import Runtime
from adcaptum.service.models.layouts.folding import Pair, folded
from adcaptum.service.models.layouts.precision import DTYPES, InPrecision, own_dtype

AS_LOADED: Final = "as loaded"
FOLDED: Final = "folded"
CHANNELS_LAST: Final = "channels last"
BOTH: Final = "folded, channels last"
TF32: Final = "tf32"


@dataclass(frozen=True, slots=True)
class Transforms:
    """Changes to a copy of a model; without any it is the model as loaded.

    Attributes:
        folded: Whether batch norms are folded into the layers before them.
        channels_last: Whether the channels of images come last in memory.
        precision: The precision to compute with; empty: the model's own.
    """

    folded: bool = False
    channels_last: bool = False
    precision: str = ""

    @property
    def name(self) -> str:
        """The changes in words, such as "folded, channels last"."""
        words = [
            FOLDED if self.folded else "",
            CHANNELS_LAST if self.channels_last else "",
            self.precision,
        ]
        return ", ".join(filter(None, words)) or AS_LOADED

    def apply(self, module: nn.Module, pairs: Sequence[Pair]) -> nn.Module:
        """Returns a changed copy of a model.

        Args:
            module: The model.
            pairs: Layers, and the batch norms to fold into them.
        """
        steps: list[Callable[[nn.Module], nn.Module]] = []
        if self.folded:
            steps.append(lambda made: folded(made, pairs))
        if self.channels_last:
            steps.append(_channels_last)
        if self.precision:
            tf32 = self.precision == TF32
            dtype = DTYPES.get(self.precision, torch.float32)
            steps.append(InTF32 if tf32 else lambda made: InPrecision(made, dtype))
        for step in steps:
            module = step(module)
        return module


@dataclass(frozen=True, slots=True)
class TransformOptions:
    """The transforms that the owner of a model allows or demands.

    Attributes:
        precision: The precision to compute with; empty: the model's own.
        channels_last: The memory formats to try: each says whether channels come last.
        fold: Whether to try folding.
    """

    precision: str
    channels_last: tuple[bool, ...]
    fold: bool

    @classmethod
    def of(cls, runtime: Runtime, module: nn.Module, device: torch.device) -> "TransformOptions":
        """Reads a declaration, leaving out what makes no difference to this model or device."""
        images = any(isinstance(part, nn.Conv2d) for part in module.modules())
        formats = {
            "auto": (False, True) if images else (False,),
            "as loaded": (False,),
            "channels last": (True,),
        }
        dtype = DTYPES.get(runtime.precision)
        own = own_dtype(module)
        tf32 = runtime.precision == TF32 and own is torch.float32 and device.type == "cuda"
        other = tf32 or (dtype is not None and dtype != own)
        return cls(
            precision=runtime.precision if other else "",
            channels_last=formats[runtime.memory_format],
            fold=runtime.fold_batch_norm,
        )

    @property
    def demanding(self) -> bool:
        """True if the owner demands a transform even where it is slower."""
        return bool(self.precision) or self.channels_last == (True,)

    def transforms(self, *, foldable: bool) -> Iterator[Transforms]:
        """Iterates over the combinations to try, simpler ones first."""
        for fold, last in product((False, True) if foldable else (False,), self.channels_last):
            made = Transforms(fold, last, self.precision)
            if made != Transforms():
                yield made


def _channels_last(module: nn.Module) -> nn.Module:
    made: nn.Module = copy.deepcopy(module)
    # The output of a convolution has the memory format of its weights.
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
