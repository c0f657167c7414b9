"""EfficientNet-Lite0 against what its weights are known to see."""

import pytest
import torch
from torch import nn

from adcaptum.zoo import photos as architecture
from adcaptum.zoo.photographs import PHOTOGRAPHS
from adcaptum.zoo.recipes import photos

CROPS = {photograph.name: photograph.crop for photograph in PHOTOGRAPHS}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    built = architecture.build()
    built.load_state_dict(photos.weights())
    return built


# Of the same weights in the package efficientnet-lite-pytorch 0.1.0, whose logits are ours to 3e-6.
@pytest.mark.parametrize(
    ("photograph", "label", "probability"),
    [
        ("cat", "tiger cat", 0.386),
        ("coffee", "espresso", 0.951),
        ("motorcycle", "moped", 0.475),
        ("palace", "palace", 0.315),
        ("flower", "daisy", 0.364),
    ],
)
def test_a_photograph_is_recognised(
    photograph: str, label: str, probability: float, network: nn.Module
) -> None:
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(CROPS[photograph]())[None]).softmax(dim=1)[0]
    best = int(probabilities.argmax())
    assert photos.labels()[best] == label
    assert float(probabilities[best]) == pytest.approx(probability, abs=0.01)


def test_the_labels_are_imagenets_in_order() -> None:
    names = photos.labels()
    known = {0: "tench", 285: "Egyptian cat", 667: "mortarboard", 967: "espresso", 985: "daisy"}
    assert {index: names[index] for index in known} == known
    assert names[999] == "toilet tissue"
