"""What may be made of a model so that it is faster, and the copies that are."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import torch
from torch import nn

from adcaptum.service.models.declaration import Runtime
from adcaptum.service.models.layouts.folding import Pair, folded
from adcaptum.service.models.layouts.precision import DTYPES, InPrecision, own_dtype

AS_LOADED: Final = "as loaded"
FOLDED: Final = "folded"
CHANNELS_LAST: Final = "channels last"
BOTH: Final = "folded, channels last"
COMPILED: Final = "compiled"


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What is made of a model.

    Attributes:
        folded: Whether its batch norms are folded into the layers before them.
        channels_last: Whether the channels of images come last in memory.
        precision: The name of the dtype that it computes with; empty: its own.
        compiled: Whether it is compiled.
    """

    folded: bool = False
    channels_last: bool = False
    precision: str = ""
    compiled: bool = False

    @property
    def name(self) -> str:
        """It in words."""
        words = [
            FOLDED if self.folded else "",
            CHANNELS_LAST if self.channels_last else "",
            self.precision,
            COMPILED if self.compiled else "",
        ]
        return ", ".join(filter(None, words)) or AS_LOADED

    def then_compiled(self) -> "Arrangement":
        """The same, compiled."""
        return replace(self, compiled=True)


ORIGINAL: Final = Arrangement()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the owner of a model leaves to be tried, and what not.

    Attributes:
        precision: The name of the dtype to compute with; empty: the model's own.
        channels_last: Whether the channels come last, one of these.
        fold: Whether folding is to be tried.
        compile: Whether compiling is to be tried.
    """

    precision: str
    channels_last: tuple[bool, ...]
    fold: bool
    compile: bool

    @classmethod
    def by(cls, runtime: Runtime, module: nn.Module) -> "Wanted":
        """Returns what a declaration says, as far as it makes a difference to a model."""
        images = any(isinstance(part, nn.Conv2d) for part in module.modules())
        formats = {
            "auto": (False, True) if images else (False,),
            "as loaded": (False,),
            "channels last": (True,),
        }
        dtype = DTYPES.get(runtime.precision)
        other = dtype is not None and dtype != own_dtype(module)
        return cls(
            precision=runtime.precision if other else "",
            channels_last=formats[runtime.memory_format],
            fold=runtime.fold_batch_norm,
            compile=runtime.compile,
        )

    @property
    def demanding(self) -> bool:
        """Whether something is wanted whether it is faster or not."""
        return bool(self.precision) or self.channels_last == (True,)

    def arrangements(self, *, foldable: bool) -> Iterator[Arrangement]:
        """What to try, the simpler before the others, without compiling."""
        for fold, last in product((False, True) if foldable else (False,), self.channels_last):
            made = Arrangement(fold, last, self.precision)
            if made != ORIGINAL:
                yield made


def arranged(module: nn.Module, pairs: Sequence[Pair], wanted: Arrangement) -> nn.Module:
    """Makes a copy of a model that is not to be compiled.

    Args:
        module: The model.
        pairs: Layers, and the batch norms to fold into them.
        wanted: What to make of it.
    """
    steps: list[Callable[[nn.Module], nn.Module]] = []
    if wanted.folded:
        steps.append(lambda made: folded(made, pairs))
    if wanted.channels_last:
        steps.append(_channels_last)
    if wanted.precision:
        steps.append(lambda made: InPrecision(made, DTYPES[wanted.precision]))
    for step in steps:
        module = step(module)
    return module


def _channels_last(module: nn.Module) -> nn.Module:
    made: nn.Module = copy.deepcopy(module)
    # What a convolution gives is arranged as its weights are.
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
