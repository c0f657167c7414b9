"""What a model's examples reveal: arguments that its forward method does not take."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

from adcaptum.service.models import checks, entrances
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


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(*_: Any) -> Tensor:
        raise RuntimeError("secret of the model")


def test_callers_do_not_read_what_a_backward_pass_raises() -> None:
    model, module = served()
    forward, apply = module.forward, cast("Any", NoWayBack).apply
    module.forward = lambda rows: apply(forward(rows))  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as lines:
        found = checks.check(model.loaded)
    assert not found.differentiable
    assert found.obstacle == "computing them raised RuntimeError; the server's log says more"
    assert [str(line["exc_info"]) for line in lines] == ["secret of the model"]


def test_without_autograd_the_reason_is_in_our_words() -> None:
    model, module = served()
    forward = module.forward
    module.forward = lambda rows: forward(rows).detach()  # type: ignore[method-assign]
    assert "without autograd" in checks.check(model.loaded).obstacle


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 2)

    def forward(self, scale: Tensor, ids: Tensor) -> Tensor:
        return self.embedding(ids).sum(1) * scale


def test_numbers_beside_token_ids_are_explained_with_their_embedding() -> None:
    loaded = tokens().loaded
    (ids,) = loaded.declaration.inputs
    scale = InputDeclaration("scale", "tensor", "FP32", (-1, 1))
    for embedding, told in (("embedding", ""), ("", "names no embedding")):
        inputs = (scale, replace(ids, embedding=embedding))
        declaration = replace(loaded.declaration, inputs=inputs)
        module = Scaled().eval()
        entrances.add(module, declaration)
        model = replace(
            loaded,
            declaration=declaration,
            module=module,
            examples=(torch.ones(2, 1), *loaded.examples),
        )
        obstacle = checks.check(model).obstacle
        assert told in obstacle
        assert bool(obstacle) == bool(told)
