"""What a model's examples reveal: arguments that its forward method does not take."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

from adcaptum.service.models import checks
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.failure_reason import ModelFailure
from adcaptum.service.models.texts import TextReader
from tests.unit.service.tiny_model import served, tokens


class OneArgument(nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        return ids.double().mean(1, keepdim=True)


def test_a_text_model_without_a_mask_is_told_the_arguments(tmp_path: Path) -> None:
    Tokenizer(WordLevel({"[PAD]": 0, "a": 1}, unk_token="[PAD]")).save(str(tmp_path / "t.json"))
    declared = InputDeclaration(
        "text",
        "text",
        "INT64",
        (-1, -1),
        tokenizer=tmp_path / "t.json",
        max_tokens=4,
        pad_token="[PAD]",
    )
    reader = TextReader(declared)
    read = reader.tokenise(["a"])
    loaded = tokens().loaded
    model = replace(
        loaded,
        declaration=replace(loaded.declaration, inputs=(declared,)),
        module=OneArgument().eval(),
        examples=(read.ids, read.mask),
        text=reader,
    )
    with pytest.raises(ModelFailure) as caught:
        checks.check(model)
    told = str(caught.value)
    assert "takes 2 positional arguments but 3 were given" in told
    assert "token ids (int64 [1, " in told
    assert "attention mask (int64 [1, " in told


def test_inputs_of_the_wrong_width_are_told_with_their_shapes() -> None:
    model, _ = served()
    with pytest.raises(ModelFailure, match=r"RuntimeError: .*arguments of forward.*x \(float32 \["):
        checks.check(replace(model.loaded, examples=(torch.eye(5),)))
