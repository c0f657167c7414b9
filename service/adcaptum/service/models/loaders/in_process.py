"""Modules that the process itself has made: those of `adcaptum.service.serve`."""

import copy
from pathlib import Path
from typing import ClassVar, Final

from torch import nn

from adcaptum.service.models.loaders.loader import Source
from adcaptum.service.models.loaders.weights import set_weights

MODULES: Final[dict[Path, nn.Module]] = {}
"""The modules by the folder that stands for them in a repository; `serve` adds and removes."""


class InProcess:
    """A module of this process, with the weights that the version's file keeps."""

    name: ClassVar[str] = "in_process"
    file: ClassVar[str] = "weights.safetensors"
    runs_code: ClassVar[bool] = False
    opaque: ClassVar[bool] = False

    def load(self, source: Source) -> nn.Module:
        """Returns a copy of the module; later changes to the module do not reach it."""
        source.arguments()
        if source.folder not in MODULES:
            raise source.error("the loader 'in_process' is for adcaptum.service.serve only")
        made: nn.Module = copy.deepcopy(MODULES[source.folder])
        set_weights(made, source)
        return made
