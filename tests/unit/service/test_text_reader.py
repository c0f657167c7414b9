"""Texts -> tokens."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import DeclarationError, InputDeclaration
from adcaptum.service.models.texts import TextReader
from adcaptum.service.requests import inputs
from adcaptum.service.requests.reading import Reading
from adcaptum.service.wire.tensor_writer import encode_bytes
from adcaptum.service.wire.tensors import Bytes
from tests.unit.service.tiny_model import tokens

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "film", "café"]


@pytest.fixture
def declared(tmp_path: Path) -> InputDeclaration:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return InputDeclaration(
        "text",
        "text",
        "INT64",
        (-1, -1),
        tokenizer=tmp_path / "tokenizer.json",
        max_tokens=12,
        embedding="embeddings",
        pad_token="[PAD]",
    )


def test_texts_are_filled_up_to_a_bucket(declared: InputDeclaration) -> None:
    read = TextReader(declared).tokenise(["a good film", "a " * 8])
    assert read.ids.shape == (2, 12)
    assert read.mask.sum(1).tolist() == [5, 10]


def test_one_text_alone_is_as_long_as_it_needs(declared: InputDeclaration) -> None:
    reader = TextReader(declared)
    together = reader.tokenise(["a good film", "a " * 8]).example(0)
    alone = reader.tokenise(["a good film"])
    assert torch.equal(together.ids, alone.ids)
    assert torch.equal(together.mask, alone.mask)


def test_long_texts_are_cut(declared: InputDeclaration) -> None:
    read = TextReader(declared).tokenise(["film " * 100])
    assert len(read.texts[0].tokens) == 12


def test_tokens_say_where_they_stand_in_characters(declared: InputDeclaration) -> None:
    (text,) = TextReader(declared).tokenise(["a café film"]).texts
    assert text.tokens == ("[CLS]", "a", "café", "film", "[SEP]")
    assert text.starts == (-1, 0, 2, 7, -1)
    assert text.ends == (-1, 1, 6, 11, -1)


def test_what_the_tokenizer_added_is_special(declared: InputDeclaration) -> None:
    read = TextReader(declared).tokenise(["a good"])
    assert read.special[0].tolist() == [True, False, False, True, True, True, True, True]


def test_an_empty_text_has_only_special_tokens(declared: InputDeclaration) -> None:
    assert bool(TextReader(declared).tokenise([""]).special.all())


def test_what_is_not_utf8_is_refused(declared: InputDeclaration) -> None:
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        TextReader(declared).read(Bytes((b"\xff\xfe",), (1,)), "inputs[0]")


def test_an_unknown_token_is_told(declared: InputDeclaration) -> None:
    with pytest.raises(DeclarationError, match="MASK"):
        TextReader(declared).token_id("[MASK]")


def test_a_text_with_too_many_tokens_says_where_it_was_cut(declared: InputDeclaration) -> None:
    text = " ".join(["good"] * 30)
    read = TextReader(declared).tokenise([text, "a good film"])
    # Two of the twelve tokens are the tokenizer's.
    assert read.texts[0].cut == len(" ".join(["good"] * 10))
    assert read.texts[1].cut is None


def test_offsets_count_code_points_not_bytes_nor_halves(declared: InputDeclaration) -> None:
    """A sign of four bytes, which other encodings write as two halves, is one."""
    sent = "👍 café 👩‍🚀 film"
    (text,) = TextReader(declared).tokenise([sent]).texts
    places = dict(zip(text.tokens, zip(text.starts, text.ends, strict=True), strict=True))
    assert [sent[slice(*places[word])] for word in ("café", "film")] == ["café", "film"]
    assert places["café"] == (2, 6)


def test_a_word_beyond_the_embedding_is_refused_before_it_reaches_the_device(
    declared: InputDeclaration,
) -> None:
    model = tokens().loaded
    few = torch.nn.ModuleDict({"embeddings": torch.nn.Embedding(7, 2)})
    declaration = replace(model.declaration, inputs=(declared,))
    model = replace(model, declaration=declaration, module=few, text=TextReader(declared))
    reading = Reading(10**6)
    assert inputs.read([encode_bytes([b"a good film"])], model, reading).count == 1
    with pytest.raises(InvalidRequest, match=r"7 at element 2; must be from 0 to 6"):
        inputs.read([encode_bytes(["a café".encode()])], model, reading)
