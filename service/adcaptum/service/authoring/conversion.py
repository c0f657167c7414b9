"""An entry of a repository from an exported model: a program, an archive, or a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from adcaptum.service.authoring import hugging_face_folder
from adcaptum.service.authoring.draft import Draft
from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.model_folder import VERSION, ModelFolder
from adcaptum.service.authoring.scaffold import check_new
from adcaptum.service.models.declaration import Declaration, DeclarationError
from adcaptum.service.models.loaders import LOADERS, trust
from adcaptum.service.models.loaders.loader import Source
from adcaptum.service.models.loaders.torch_export import TorchExport
from adcaptum.service.models.loaders.torchscript import TorchScript

Examples = Mapping[str, Tensor] | Sequence[Tensor]

FILES: Final = {".pt2": TorchExport.name, ".pt": TorchScript.name, ".pth": TorchScript.name}
"""The loader of a file by the end of its name."""

TRUSTED: Final = (
    "Loading the file can run code that it contains, so servers load no other file in its place."
)


def convert(
    source: Path,
    into: Path,
    *,
    name: str | None = None,
    examples: Examples | None = None,
    task: str | None = None,
    labels: Sequence[str] = (),
) -> tuple[Path, Mapping[str, Any]]:
    """Writes a model's folder from an exported model, which is loaded for it.

    Args:
        source: A .pt2 or .pt file, or a folder of a Hugging Face model.
        into: The repository.
        name: The model's name; None: that of the file or folder.
        examples: The arguments of its forward method; None: those that the export kept.
        task: The task of a Hugging Face model; None: that of its architecture.
        labels: The classes of the output.

    Returns:
        The folder, and the content of its `model.toml`.

    Raises:
        AuthoringError: It cannot be converted; the text says why.
    """
    name = name or (source.name if source.is_dir() else source.stem)
    check_new(name, into)
    if source.is_dir():
        made = hugging_face_folder.read(source, name, task)
    else:
        made = _program(source, name, examples, labels)
    return made.write(into), made.configuration


def load(source: Path, name: str, loader: str, arguments: Mapping[str, object]) -> torch.nn.Module:
    """Loads a file as a loader does."""
    declaration = Declaration(name, "", "", (), (), loader=loader, arguments=arguments)
    try:
        module = LOADERS[loader].load(
            Source(declaration, source.parent, source, content=source.read_bytes())
        )
    except DeclarationError as error:
        # The file is not in a model's folder yet.
        problem = str(error).replace(f"{name}/{source.name}:", f"{source}:", 1)
        raise AuthoringError(problem) from error
    return module.eval()


def _program(
    source: Path, name: str, examples: Examples | None, labels: Sequence[str]
) -> ModelFolder:
    loader = _loader(source)
    try:
        module = load(source, name, loader, {})
    except AuthoringError as error:
        hint = (
            ". A state dict needs its factory: adcaptum init NAME --factory MODULE:CALLABLE "
            f"--weights {source}"
        )
        raise AuthoringError(f"{error}{hint if loader == TorchScript.name else ''}") from error
    given = _kept(source) if examples is None and loader == TorchExport.name else examples
    if not given:
        raise AuthoringError(f"{source}: it keeps no example; give one with --example")
    draft = Draft.of(module, given, labels)
    path = f"{VERSION}/{LOADERS[loader].file}"
    return ModelFolder(
        name=name,
        configuration={
            "description": "",
            "loader": loader,
            "trusted": {path: trust.sha256(source)},
            **draft.configuration(),
        },
        weights={},
        tensors=draft.tensors(),
        files={path: source},
        comments={"trusted": TRUSTED},
    )


def _loader(source: Path) -> str:
    if not source.is_file():
        raise AuthoringError(f"{source}: there is no such file or folder")
    if source.suffix == ".onnx":
        raise AuthoringError(
            f"{source}: ONNX has no gradients and no layers of PyTorch; export the PyTorch module "
            "with torch.export instead"
        )
    if source.suffix not in FILES:
        known = ", ".join(FILES)
        raise AuthoringError(f"{source}: is none of {known} or a folder of a Hugging Face model")
    return FILES[source.suffix]


def _kept(source: Path) -> dict[str, Tensor]:
    """Returns the example that a program was exported with."""
    program = torch.export.load(source)
    arguments, named = program.example_inputs or ((), {})
    tensors = [each for each in (*arguments, *named.values()) if isinstance(each, Tensor)]
    names = program.graph_signature.user_inputs
    return dict(zip(map(str, names), tensors, strict=True)) if len(tensors) == len(names) else {}
