"""A model of an image, a table and a text: adverts of flats with a photograph, facts and words.

Nothing is trained: the weights are random, and all inputs count.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from adcaptum.service.authoring.model_folder import ModelFolder

NAME: Final = "flats"
SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS: Final = (
    *SPECIAL, "a", "bright", "dark", "flat", "garden", "loud", "near", "no", "park", "quiet",
    "river", "small", "station", "the", "with",
)  # fmt: skip
COLUMNS: Final = ("rooms", "area", "floor", "year")
LABELS: Final = ("cheap", "fair", "dear")
TEXTS: Final = ("a bright flat near the park", "small dark flat", "quiet garden with river")
CODE: Final = """
import torch
from torch import nn

class Flats(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.facts = nn.Linear(4, 6)
        self.words = nn.Embedding(19, 5)
        self.head = nn.Linear(15, 3)

    def forward(self, photo, facts, text, mask):
        seen = torch.relu(self.conv(photo)).mean((2, 3))
        known = torch.tanh(self.facts(facts))
        weight = mask.unsqueeze(-1).to(seen.dtype)
        read = (torch.tanh(self.words(text)) * weight).sum(1) / weight.sum(1)
        return self.head(torch.cat([seen, known, read], 1))
"""


def module() -> nn.Module:
    """The model itself, with its weights."""
    found: dict[str, Any] = {}
    exec(CODE, found)
    torch.manual_seed(0)
    made: nn.Module = found["Flats"]()
    return made.eval().requires_grad_(requires_grad=False)


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(list(SPECIAL))
    return made


def ids(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The tokens of texts and their mask, padded to the longest."""
    rows = [encoding.ids for encoding in tokenizer().encode_batch(list(texts))]
    length = max(map(len, rows))
    padded = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    return padded, torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])


def rows(count: int = 3, size: int = 8) -> dict[str, npt.NDArray[np.float32]]:
    """Photographs and facts."""
    drawn = np.random.default_rng(0)
    return {
        "photo": drawn.random((count, 3, size, size), np.float32),
        "facts": drawn.normal(size=(count, 4)).astype(np.float32),
    }


def write(repository: Path, *, size: int = 8) -> Path:
    """Write its folder into a repository."""
    folder = ModelFolder(
        name=NAME,
        configuration={
            "description": "Prices of flats.",
            "factory": "flats:Flats",
            "inputs": [
                {
                    "name": "photo",
                    "kind": "image",
                    "shape": [-1, 3, size, size],
                    "baselines": {"grey": 0.5},
                },
                {
                    "name": "facts",
                    "kind": "tabular",
                    "shape": [-1, 4],
                    "features": list(COLUMNS),
                    "background": "rows.safetensors",
                },
                {
                    "name": "text",
                    "kind": "text",
                    "shape": [-1, -1],
                    "tokenizer": "tokenizer.json",
                    "embedding": "words",
                    "max_tokens": 16,
                },
            ],
            "outputs": [
                {"name": "price", "kind": "logits", "shape": [-1, 3], "labels": list(LABELS)}
            ],
            "examples": {"file": "rows.safetensors", "texts": list(TEXTS)},
        },
        weights=module().state_dict(),
        tensors={"rows.safetensors": {n: torch.from_numpy(v) for n, v in rows(size=size).items()}},
        texts={"code/flats.py": CODE, "tokenizer.json": tokenizer().to_str()},
    ).write(repository)
    assert safetensors.torch.load_file(folder / "1/weights.safetensors")
    return folder
