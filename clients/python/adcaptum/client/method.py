"""An attribution method with its parameters, as requests name it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

# Forward references inside an alias need Union: a string has no | operator.
ParameterValue: TypeAlias = Union[
    bool,
    int,
    float,
    str,
    np.integer[Any],
    np.floating[Any],
    npt.NDArray[Any],
    Sequence["ParameterValue"],
    "Method",
]


@dataclass(frozen=True, slots=True, init=False)
class Method:
    """A method's name and those of its parameters that differ from their defaults.

    ``Method("integrated_gradients", n_steps=50)``, or nested:
    ``Method("smooth_grad", of=Method("saliency"), n_samples=20)``.

    Attributes:
        name: The name, as ``Client.methods()`` lists it.
        params: Parameters by name.
    """

    name: str
    params: Mapping[str, ParameterValue]

    def __init__(self, name: str, /, **params: ParameterValue) -> None:
        # The only way to set a field in the __init__ of a frozen dataclass.
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "params", params)

    def __repr__(self) -> str:
        return f"Method({', '.join([repr(self.name), *self._written()])})"

    def __str__(self) -> str:
        """The method in short form: ``smooth_grad(of=saliency, n_samples=20)``."""
        params = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.name}({params})" if params else self.name

    def _written(self) -> list[str]:
        return [f"{name}={value!r}" for name, value in self.params.items()]


Methods: TypeAlias = str | Method | Sequence[str | Method]
