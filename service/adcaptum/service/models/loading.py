"""Loads a version of a model into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from adcaptum.service.models import entrances
from adcaptum.service.models.declaration import Declaration, DeclarationError
from adcaptum.service.models.loaders import LOADERS, trust, weights
from adcaptum.service.models.loaders.loader import Source
from adcaptum.service.models.repository import stored_tensors
from adcaptum.service.models.repository.stored_models import StoredModel, Version
from adcaptum.service.models.repository.stored_tensors import Baseline
from adcaptum.service.models.texts import TextReader
from adcaptum.service.nearest import did_you_mean


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A version of a model in memory.

    Attributes:
        declaration: The content of `model.toml`.
        version: The version's name.
        digest: The digest of everything that decides its answers.
        module: The module in evaluation mode; no parameter requires gradients.
        device: The module's device.
        baselines: Baselines by input, then by name. For text inputs, the id of the token.
        backgrounds: Rows of the background set, by input.
        examples: Example arguments of the forward method, each `(rows, ...)`: the inputs, and after
            them the attention mask of a text.
        text: The reader of the text input; None without one.
        opaque: Whether its layers and operations cannot be observed.
    """

    declaration: Declaration
    version: str
    digest: str
    module: nn.Module
    device: torch.device
    baselines: Mapping[str, Mapping[str, Baseline]]
    backgrounds: Mapping[str, Tensor]
    examples: tuple[Tensor, ...]
    text: TextReader | None
    opaque: bool = False


def load(
    stored: StoredModel, version: Version, device: torch.device, allowed: Sequence[str] = ()
) -> LoadedModel:
    """Loads a version's weights and the files beside them.

    Args:
        stored: The model in the repository.
        version: One of its versions.
        device: The device to load it to.
        allowed: Packages from which factories may come, beside those that always may.

    Raises:
        DeclarationError: The factory is missing or not allowed, a file is not trusted, the weights
            do not fit the module or are not finite, a file is not what the declaration says, or
            files changed meanwhile.
        Exception: The factory's own errors.
    """
    declaration, stamp = stored.declaration, stored.stamp(version)
    loader = LOADERS[declaration.loader]
    source = Source(declaration, stored.folder, version.weights, tuple(allowed))
    if loader.runs_code:
        source = trust.checked(source)
    module = loader.load(source)
    weights.check_finite(module, source)
    module = module.to(device).eval().requires_grad_(requires_grad=False)
    _check_layers(declaration, module)
    entrances.add(module, declaration)
    place = declaration.text
    text = None if place is None else TextReader(declaration.inputs[place])
    backgrounds = {
        each.name: stored_tensors.background(each, device) for each in declaration.inputs
    }
    made = LoadedModel(
        declaration=declaration,
        version=version.name,
        digest=stored.digest(version),
        module=module,
        device=device,
        baselines=MappingProxyType(
            {each.name: stored_tensors.baselines(each, text, device) for each in declaration.inputs}
        ),
        backgrounds=MappingProxyType(
            {name: rows for name, rows in backgrounds.items() if rows is not None}
        ),
        examples=stored_tensors.examples(declaration, text, device),
        text=text,
        opaque=loader.opaque,
    )
    if stored.stamp(version) != stamp:
        # The digest would be that of other weights.
        raise DeclarationError(
            f"{declaration.name}/{version.name}: its files changed while they were read"
        )
    return made


def _check_layers(declaration: Declaration, module: nn.Module) -> None:
    modules = dict(module.named_modules())
    named = {f"layers.{alias}": name for alias, name in declaration.layers.items()}
    named |= {f"inputs.{i.name}.embedding": i.embedding for i in declaration.inputs if i.embedding}
    for field, name in named.items():
        if name not in modules:
            hint = did_you_mean(name, (known for known in modules if known))
            raise DeclarationError(f"{declaration.name}: {field}: no module {name!r}. {hint}")
