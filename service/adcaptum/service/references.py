"""What a request compares its inputs with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from adcaptum.engine.randomness import generator
from adcaptum.service import inputs as request_inputs
from adcaptum.service.declaration import InputDeclaration
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.inputs import Inputs
from adcaptum.service.loading import Baseline, LoadedModel
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.v1 import explanation_pb2, tensor_pb2

STREAM: Final = 0xBA5E
"""Keeps the draws of background rows apart from those of methods with the same seed."""


@dataclass(frozen=True, slots=True, eq=False)
class References:
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

    def read(self, messages: Sequence[explanation_pb2.Baseline]) -> tuple[Tensor, ...]:
        """Returns a baseline for each input, `(rows, *features)`.

        Raises:
            InvalidRequest: One is not of its input, or not one that the model has.
        """
        declared = self.model.declaration.inputs
        if not messages:
            return tuple(map(self._default, declared, self.inputs.tensors))
        names = [message.input for message in messages]
        placed = request_inputs.place(names, declared, "baselines")
        return tuple(
            self._default(each, values)
            if index is None
            else self._read(messages[index], f"baselines[{index}]", each, values)
            for each, index, values in zip(declared, placed, self.inputs.tensors, strict=True)
        )

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
            constant = message.constant if kind == "constant" else 0.0
            if not math.isfinite(constant):
                raise InvalidRequest(field, f"{constant}; must be finite")
            return torch.full_like(values[:1], constant)
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
        return read.to(values.device)

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
