"""Trains the digit classifier on the handwritten digits of scikit-learn."""

from dataclasses import dataclass
from typing import Final

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.zoo import digits
from adcaptum.zoo.recipes import presets
from adcaptum.zoo.training import Report, accuracy, fit, reproducible

SEED: Final = 0
BRIGHTEST: Final = 16
BACKGROUND_ROWS: Final = 100
EXAMPLE_ROWS: Final = 4
PRESETS: Final = {"quick": presets.quick(0.1), "exact": presets.exact(0.01)}


@dataclass(frozen=True, slots=True)
class DigitData:
    """The pictures, split by a fixed seed with the classes in proportion.

    Attributes:
        train: `(1347, 1, 8, 8)` pixels in 0..1.
        train_labels: `(1347,)`, the digit.
        test: `(450, 1, 8, 8)` pixels, held out.
        test_labels: `(450,)`.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def load() -> DigitData:
    """Reads the data that ship with scikit-learn."""
    bunch = load_digits()
    train, test, train_labels, test_labels = train_test_split(
        bunch.images, bunch.target, test_size=0.25, random_state=SEED, stratify=bunch.target
    )
    return DigitData(
        train=torch.from_numpy(train).float().unsqueeze(1) / BRIGHTEST,
        train_labels=torch.from_numpy(train_labels),
        test=torch.from_numpy(test).float().unsqueeze(1) / BRIGHTEST,
        test_labels=torch.from_numpy(test_labels),
    )


def make(report: Report) -> ModelFolder:
    """Trains the network and measures it on the held-out pictures."""
    data = load()
    with reproducible(SEED):
        network = digits.build()
        fit(
            network,
            data.train,
            data.train_labels,
            epochs=12,
            batch_rows=64,
            learning_rate=1e-2,
            weight_decay=0.05,
            report=report,
        )
        held_out = accuracy(network, data.test, data.test_labels)
    return ModelFolder(
        name="digits",
        configuration=_configuration(data, held_out),
        weights=network.state_dict(),
        measured=f"{held_out:.1%} of {len(data.test)} held-out pictures",
        tensors={
            "baselines.safetensors": {"mean": data.train.mean(dim=0, keepdim=True)},
            "background.safetensors": {"pixels": data.train[:BACKGROUND_ROWS]},
            "examples.safetensors": {"pixels": data.test[:EXAMPLE_ROWS]},
        },
    )


def _configuration(data: DigitData, held_out: float) -> dict[str, object]:
    return {
        "description": "Handwritten digits, 8 x 8 pixels: a residual network trained in seconds.",
        "factory": "adcaptum.zoo.digits:build",
        "default_version": "1",
        "accuracy": round(held_out, 4),
        "source": (
            f"Trained on {len(data.train)} of the handwritten digits (Alpaydin and Kaynak; UCI, "
            "CC BY 4.0) as shipped in scikit-learn (BSD-3-Clause); accuracy on the other "
            f"{len(data.test)}."
        ),
        "arguments": {"channels": 24, "classes": 10},
        "aliases": {"stable": "1"},
        "inputs": [
            {
                "name": "pixels",
                "kind": "image",
                "datatype": "FP32",
                "shape": [-1, 1, 8, 8],
                "resize": 8,
                "default_baseline": "black",
                "background": "background.safetensors",
                "baselines": {
                    "black": 0.0,
                    "mean": {"file": "baselines.safetensors", "key": "mean"},
                },
            }
        ],
        "outputs": [
            {
                "name": "logits",
                "datatype": "FP32",
                "shape": [-1, 10],
                "kind": "logits",
                "labels": [str(digit) for digit in range(10)],
            }
        ],
        "layers": {"stem": "stem", "middle": "block_1", "features": "block_2"},
        "defaults": {"methods": [{"name": "integrated_gradients", "params": {"n_steps": 50}}]},
        "presets": PRESETS,
        "limits": {"max_rows": 100_000, "max_examples": 256},
        "examples": {"file": "examples.safetensors"},
    }
