"""What a request compares its inputs with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from adcaptum.engine.rows.randomness import generator
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.loading import Baseline, LoadedModel
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.requests import inputs as request_inputs
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.wire import tensors as wire
from adcaptum.service.wire.tensors import Bytes, to_device
from adcaptum.v1 import explanation_pb2, tensor_pb2

STREAM: Final = 0xBA5E
"""Keeps the draws of background rows apart from those of methods with the same seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """What inputs, or a layer's values, are compared with.

    Attributes:
        tensors: A baseline for each, `(rows, *features)`; one without dimensions is that number
            everywhere.
        distribution: Where in the request one stands whose every row is a baseline of every
            example; empty if there is none.
    """

    tensors: tuple[Tensor, ...]
    distribution: str = ""

    @property
    def rows(self) -> int:
        """How many baselines there are."""
        return max((len(each) for each in self.tensors if each.ndim), default=1)

    def of_example(self, index: int, count: int) -> Self:
        """Returns what one of `count` examples is compared with."""
        if self.distribution:
            return self
        return replace(
            self,
            tensors=tuple(
                each[index : index + 1] if each.ndim and len(each) == count else each
                for each in self.tensors
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class BaselineReader:
    """Reads the baselines of one request.

    Attributes:
        model: What is explained.
        inputs: The request's.
        seed: Where the draw of background rows begins.
        max_image_pixels: The largest encoded image that is decoded.
    """

    model: LoadedModel
    inputs: Inputs
    seed: int
    max_image_pixels: int

    def read(self, messages: Sequence[explanation_pb2.Baseline]) -> Baselines:
        """Returns a baseline for each input.

        Raises:
            InvalidRequest: One is not of its input, or not one that the model has; or inputs have
                different numbers of rows.
        """
        declared = self.model.declaration.inputs
        if not messages:
            return Baselines(tuple(map(self._default, declared, self.inputs.tensors)))
        names = [message.input for message in messages]
        placed = request_inputs.place(names, declared, "baselines")
        tensors = tuple(
            self._default(each, values)
            if index is None
            else self._read(messages[index], f"baselines[{index}]", each, values)
            for each, index, values in zip(declared, placed, self.inputs.tensors, strict=True)
        )
        return compared(tensors, messages, placed, self.inputs.count, "baselines")

    def _default(self, declared: InputDeclaration, values: Tensor) -> Tensor:
        return self._named(declared, values, declared.default_baseline)

    def _named(self, declared: InputDeclaration, values: Tensor, name: str) -> Tensor:
        baseline: Baseline = self.model.baselines[declared.name][name]
        if self.inputs.texts is not None:
            # What the tokenizer added, [CLS] and the like, stands in the baseline too.
            return torch.where(self.inputs.texts.special, values, int(baseline))
        if not isinstance(baseline, Tensor):
            return torch.full_like(values[:1], baseline)
        _check_features(baseline, values, "baselines")
        return baseline

    def _read(
        self,
        message: explanation_pb2.Baseline,
        field: str,
        declared: InputDeclaration,
        values: Tensor,
    ) -> Tensor:
        kind = message.WhichOneof("kind")
        if kind is None:
            return self._default(declared, values)
        if kind == "named":
            known = self.model.baselines[declared.name]
            if message.named not in known:
                hint = did_you_mean(message.named, known)
                raise InvalidRequest(
                    f"{field}.named", f"there is no baseline {shortened(message.named)}. {hint}"
                )
            return self._named(declared, values, message.named)
        if self.inputs.texts is not None:
            allowed = ", ".join(self.model.baselines[declared.name])
            raise InvalidRequest(f"{field}.{kind}", f"texts have named baselines only: {allowed}")
        field = f"{field}.{kind}"
        if kind in {"zero", "constant"}:
            return torch.full_like(values[:1], _finite(message, field))
        if kind == "blur":
            return blurred(values, message.blur.sigma, declared, field)
        if kind == "samples":
            return self._samples(message.samples.count, field, declared, values)
        return self._tensor(message.tensor, field, declared, values)

    def _tensor(
        self, message: tensor_pb2.Tensor, field: str, declared: InputDeclaration, values: Tensor
    ) -> Tensor:
        read = request_inputs.read_one(message, declared, field, self.max_image_pixels)
        _check_features(read, values, field)
        return to_device(read, values.device)

    def _samples(
        self, count: int, field: str, declared: InputDeclaration, values: Tensor
    ) -> Tensor:
        rows = self.model.backgrounds.get(declared.name)
        if rows is None:
            raise InvalidRequest(
                field, f"the model declares no background set for {declared.name!r}"
            )
        if not 1 <= count <= len(rows):
            raise InvalidRequest(f"{field}.count", f"{count}; must be from 1 to {len(rows)}")
        _check_features(rows, values, field)
        source = generator(self.seed, STREAM, 0, torch.device("cpu"))
        drawn = torch.randperm(len(rows), generator=source)[:count]
        return rows[drawn.to(rows.device)]


def at_layer(messages: Sequence[explanation_pb2.Baseline], inputs: Inputs) -> Baselines | None:
    """Reads baselines in a layer's own space; None where there are none.

    Whether they are of the layer's shape shows when the model runs.

    Raises:
        InvalidRequest: One is of a kind that only inputs have, names an input, or is not of
            floating-point numbers.
    """
    if not messages:
        return None
    tensors = tuple(
        _at_layer(message, f"layer_baselines[{index}]").to(inputs.tensors[0].device)
        for index, message in enumerate(messages)
    )
    return compared(tensors, messages, range(len(tensors)), inputs.count, "layer_baselines")


def compared(
    tensors: tuple[Tensor, ...],
    messages: Sequence[explanation_pb2.Baseline],
    placed: Sequence[int | None],
    count: int,
    field: str,
) -> Baselines:
    """Finds out whether there is a distribution, and brings it to as many rows for all.

    Args:
        tensors: The baselines.
        messages: What the request says.
        placed: Which of them each baseline is; None for one that the request does not give.
        count: How many examples there are.
        field: Where they stand in the request.

    Raises:
        InvalidRequest: They have different numbers of rows.
    """
    found = ""
    for tensor, index in zip(tensors, placed, strict=True):
        kind = None if index is None else messages[index].WhichOneof("kind")
        own = tensor.ndim > 0 and len(tensor) > 1
        if own and (kind == "samples" or (kind == "tensor" and len(tensor) != count)):
            found = found or f"{field}[{index}].{kind}"
    if not found:
        return Baselines(tensors)
    rows = {len(each) for each in tensors if each.ndim and len(each) > 1}
    if len(rows) > 1:
        raise InvalidRequest(
            field, f"of {sorted(rows)} rows; a distribution has one number of rows"
        )
    (most,) = rows
    return Baselines(
        tuple(each.expand(most, *each.shape[1:]) if each.ndim else each for each in tensors), found
    )


def _at_layer(message: explanation_pb2.Baseline, field: str) -> Tensor:
    if message.input:
        raise InvalidRequest(f"{field}.input", f"{shortened(message.input)}; must be empty")
    kind = message.WhichOneof("kind")
    if kind in {"zero", "constant"}:
        return torch.tensor(_finite(message, f"{field}.{kind}"))
    if kind != "tensor":
        raise InvalidRequest(f"{field}.{kind or 'kind'}", "must be zero, constant or tensor")
    values = wire.decode(message.tensor, f"{field}.tensor")
    if isinstance(values, Bytes) or not values.is_floating_point() or not values.ndim:
        raise InvalidRequest(
            f"{field}.tensor",
            f"{message.tensor.datatype} of shape {list(message.tensor.shape)}; must be "
            "floating-point numbers of the layer's shape, the batch first",
        )
    return values


def _finite(message: explanation_pb2.Baseline, field: str) -> float:
    constant = message.constant if message.HasField("constant") else 0.0
    if not math.isfinite(constant):
        raise InvalidRequest(field, f"{constant}; must be finite")
    return constant


def blurred(values: Tensor, sigma: float, declared: InputDeclaration, field: str) -> Tensor:
    """Returns images `(rows, channels, height, width)` out of focus.

    Raises:
        InvalidRequest: `sigma` is not above 0, or the input is not an image.
    """
    if declared.kind != "image":
        raise InvalidRequest(field, f"{declared.name!r} is {declared.kind}, and only images blur")
    longest = max(values.shape[2:])
    if not 0 < sigma <= longest:
        raise InvalidRequest(f"{field}.sigma", f"{sigma}; must be above 0 and at most {longest}")
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (weights / weights.sum()).to(values)
    channels = values.shape[1]
    for shape, sides in (
        ((-1, 1), (0, 0, radius, radius)),
        ((1, -1), (radius, radius, 0, 0)),
    ):
        padded = functional.pad(values, sides, mode="replicate")
        values = functional.conv2d(
            padded, kernel.view(1, 1, *shape).expand(channels, -1, -1, -1), groups=channels
        )
    return values


def _check_features(baseline: Tensor, values: Tensor, field: str) -> None:
    if baseline.shape[1:] != values.shape[1:]:
        raise InvalidRequest(
            field,
            f"shape {list(baseline.shape)}; the input's is {list(values.shape)}, and all but the "
            "batch must be equal",
        )
