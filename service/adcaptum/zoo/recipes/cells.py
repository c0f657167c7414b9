"""Trains the cell classifier on the Wisconsin diagnostic breast cancer data."""

from dataclasses import dataclass
from typing import Final

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import Tensor

from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.zoo import cells
from adcaptum.zoo.recipes import presets
from adcaptum.zoo.training import Report, accuracy, fit, reproducible

SEED: Final = 0
BENIGN: Final = 1
BACKGROUND_ROWS: Final = 100
EXAMPLE_ROWS: Final = 4
PRESETS: Final = {"quick": presets.quick(0.1), "exact": presets.exact(0.001)}

# The data set does not name the unit of its lengths.
UNITS: Final = {
    "radius": "length",
    "texture": "grey level",
    "perimeter": "length",
    "area": "length²",
}


@dataclass(frozen=True, slots=True)
class CellData:
    """The rows, split by a fixed seed with the classes in proportion.

    Attributes:
        train: `(426, 30)` measurements.
        train_labels: `(426,)`, 0 malignant, 1 benign.
        test: `(143, 30)` measurements, held out.
        test_labels: `(143,)`.
        features: 30 names.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    features: list[str]


def load() -> CellData:
    """Reads the data that ship with scikit-learn."""
    bunch = load_breast_cancer()
    train, test, train_labels, test_labels = train_test_split(
        bunch.data, bunch.target, test_size=0.25, random_state=SEED, stratify=bunch.target
    )
    return CellData(
        train=torch.from_numpy(train).float(),
        train_labels=torch.from_numpy(train_labels),
        test=torch.from_numpy(test).float(),
        test_labels=torch.from_numpy(test_labels),
        features=[str(name) for name in bunch.feature_names],
    )


def make(report: Report) -> ModelFolder:
    """Trains the network and measures it on the held-out rows."""
    data = load()
    with reproducible(SEED):
        network = cells.CellClassifier(features=30, width=128, classes=2)
        network.standardise.mean.copy_(data.train.mean(dim=0))
        network.standardise.scale.copy_(data.train.std(dim=0))
        fit(
            network,
            data.train,
            data.train_labels,
            epochs=15,
            batch_rows=32,
            learning_rate=1e-3,
            weight_decay=1.0,
            report=report,
        )
        held_out = accuracy(network, data.test, data.test_labels)
    benign = data.train[data.train_labels == BENIGN]
    return ModelFolder(
        name="cells",
        configuration=_configuration(data, held_out),
        weights=network.state_dict(),
        measured=f"{held_out:.1%} of {len(data.test)} held-out rows",
        tensors={
            "baselines.safetensors": {
                "mean": data.train.mean(dim=0, keepdim=True),
                "benign_mean": benign.mean(dim=0, keepdim=True),
            },
            "background.safetensors": {"measurements": data.train[:BACKGROUND_ROWS]},
            "examples.safetensors": {"measurements": data.test[:EXAMPLE_ROWS]},
        },
    )


def _configuration(data: CellData, held_out: float) -> dict[str, object]:
    return {
        "description": "Breast cancer: benign or malignant, from 30 measurements of cell nuclei.",
        "factory": "adcaptum.zoo.cells:build",
        "default_version": "1",
        "accuracy": round(held_out, 4),
        "source": (
            f"Trained on {len(data.train)} rows of the Wisconsin diagnostic breast cancer data "
            "(Wolberg, Street and Mangasarian; UCI, CC BY 4.0) as shipped in scikit-learn "
            f"(BSD-3-Clause); accuracy on the other {len(data.test)}. The data set does not state "
            "its unit of length. Not for medical use."
        ),
        "arguments": {"features": 30, "width": 128, "classes": 2},
        "aliases": {"stable": "1"},
        "inputs": [
            {
                "name": "measurements",
                "kind": "tabular",
                "datatype": "FP32",
                "shape": [-1, 30],
                "features": data.features,
                "units": [_unit(name) for name in data.features],
                "default_baseline": "mean",
                "background": "background.safetensors",
                "baselines": {
                    "mean": {"file": "baselines.safetensors", "key": "mean"},
                    "benign_mean": {"file": "baselines.safetensors", "key": "benign_mean"},
                },
            }
        ],
        "outputs": [
            {
                "name": "logits",
                "datatype": "FP32",
                "shape": [-1, 2],
                "kind": "logits",
                "labels": ["malignant", "benign"],
            }
        ],
        "layers": {"hidden": "relu_1", "features": "relu_2"},
        "defaults": {"methods": [{"name": "integrated_gradients", "params": {"n_steps": 50}}]},
        "presets": PRESETS,
        "limits": {"max_rows": 100_000, "max_examples": 256},
        "examples": {"file": "examples.safetensors"},
    }


def _unit(feature: str) -> str:
    """Returns the unit of a feature such as "mean radius"; "" for a plain number."""
    return next((unit for name, unit in UNITS.items() if name in feature.split()), "")
