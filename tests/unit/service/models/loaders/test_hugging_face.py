"""Hugging Face folders: tiny models from configurations, converted and explained offline."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from adcaptum.service.authoring.conversion import convert
from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.models import checks, loading
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository import stored_models

transformers: Any = pytest.importorskip("transformers", reason="the extra hf is not installed")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film"]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A folder of a classifier of texts, with a tokenizer."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        max_position_embeddings=40,
        id2label={0: "sad", 1: "glad"},
        label2id={"sad": 0, "glad": 1},
        **SMALL,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "mood")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "mood/tokenizer.json"))
    return tmp_path / "mood"


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """A folder of a classifier of images, with its preprocessing."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=16, patch_size=8, num_labels=3, **SMALL)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "pets")
    preprocessing = {
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.2, 0.2],
        "size": {"height": 16, "width": 16},
    }
    (tmp_path / "pets/preprocessor_config.json").write_text(json.dumps(preprocessing))
    return tmp_path / "pets"


def load(folder: Path) -> LoadedModel:
    stored = stored_models.open_model(folder)
    return loading.load(stored, stored.versions["1"], torch.device("cpu"))


def test_a_classifier_of_texts_gives_what_transformers_gives(bert: Path, tmp_path: Path) -> None:
    folder, _ = convert(bert, tmp_path / "models")
    loaded = load(folder)
    assert checks.check(loaded).differentiable
    declared = loaded.declaration
    assert declared.outputs[0].labels == ("sad", "glad")
    assert declared.inputs[0].embedding == "model.bert.embeddings.word_embeddings"
    assert declared.inputs[0].max_tokens == 38
    ids, mask = loaded.examples
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(bert).eval()
    expected = theirs(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(loaded.module(ids, mask), expected, rtol=1e-4, atol=1e-5)


def test_token_embeddings_are_zero_at_padding_and_may_be_averaged(
    bert: Path, tmp_path: Path
) -> None:
    folder, declared = convert(bert, tmp_path / "models", task="token-embeddings")
    assert declared["outputs"] == [{"name": "embeddings", "shape": [-1, -1, 16]}]
    loaded = load(folder)
    ids, mask = loaded.examples
    tokens = loaded.module(ids, mask)
    assert tokens.shape == (*ids.shape, 16)
    assert torch.equal(tokens.abs().sum(-1) > 0, mask > 0)
    text = (folder / "model.toml").read_text()
    text = text.replace('"token-embeddings"', '"token-embeddings"\npooling = "mean"', 1)
    (folder / "model.toml").write_text(text)
    averaged = load(folder).module(ids, mask)
    expected = tokens.sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(averaged, expected)


def test_a_classifier_of_images_normalises_as_its_preprocessing(vit: Path, tmp_path: Path) -> None:
    folder, declared = convert(vit, tmp_path / "models", name="animals")
    assert declared["inputs"][0]["shape"] == [-1, 3, 16, 16]
    loaded = load(folder)
    assert checks.check(loaded).independent
    images = torch.rand(2, 3, 16, 16)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(vit).eval()
    mean = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)
    expected = theirs(pixel_values=(images - mean) / 0.2).logits
    torch.testing.assert_close(loaded.module(images), expected, rtol=1e-4, atol=1e-5)


def test_every_file_that_decides_answers_is_in_the_digest(vit: Path, tmp_path: Path) -> None:
    folder, _ = convert(vit, tmp_path / "models")
    stored = stored_models.open_model(folder)
    before = stored.digest(stored.versions["1"])
    (folder / "1/preprocessor_config.json").write_text("{}")
    assert stored.digest(stored.versions["1"]) != before


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("harm", "task", "reason"),
    [
        (without("tokenizer.json"), None, "there is no tokenizer.json in it"),
        (without("model.safetensors"), None, "model.save_pretrained writes one"),
        (without("config.json"), None, "there is no config.json in it"),
        (lambda _: None, "chess", "task: 'chess' is not one of 'image-classification'"),
        (
            lambda folder: (folder / "config.json").write_text('{"architectures": ["Rook"]}'),
            None,
            "task: that of ['Rook'] is not known; must be one of",
        ),
    ],
)
def test_a_folder_that_lacks_something_says_so(
    bert: Path, tmp_path: Path, harm: Callable[[Path], object], task: str | None, reason: str
) -> None:
    harm(bert)
    with pytest.raises(AuthoringError) as caught:
        convert(bert, tmp_path / "models", task=task)
    assert reason in str(caught.value)
    assert not (tmp_path / "models").exists()


def test_weights_that_a_task_needs_are_not_made_up(bert: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(bert)
    transformers.BertModel(config).save_pretrained(bert)
    with pytest.raises(AuthoringError, match=r"weights lack 'classifier\.bias', 'class"):
        convert(bert, tmp_path / "models", task="text-classification")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("text-classification", "text", "arguments.task: 'text' is not one of"),
        ("task = ", "pooling = 'mean'\ntask = ", "arguments.pooling: only the task"),
        ("task = ", "tasks = 1\ntask = ", "arguments.tasks: the loader 'hugging_face' has no such"),
    ],
)
def test_wrong_arguments_are_told(
    bert: Path, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    folder, _ = convert(bert, tmp_path / "models")
    text = (folder / "model.toml").read_text()
    head, table, rest = text.partition("[arguments]")
    (folder / "model.toml").write_text(head + table + rest.replace(old, new, 1))
    with pytest.raises(DeclarationError) as caught:
        load(folder)
    assert reason in str(caught.value)
