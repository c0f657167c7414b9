"""The folder of models."""

from pathlib import Path

import pytest

from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.repository import stored_models

DECLARATION = """
factory = "somewhere:build"
{more}
[[inputs]]
name = "x"
shape = [-1, 3]
[[outputs]]
name = "y"
shape = [-1, 2]
"""


def make(folder: Path, *versions: str, more: str = "") -> Path:
    model = folder / "net"
    for version in versions:
        (model / version).mkdir(parents=True)
        (model / version / "weights.safetensors").write_bytes(version.encode())
    model.mkdir(exist_ok=True)
    (model / "model.toml").write_text(DECLARATION.format(more=more))
    return model


def test_a_model_is_no_repository(tmp_path: Path) -> None:
    model = make(tmp_path, "1")
    with pytest.raises(DeclarationError, match=f"this is a model; .* lies in, {tmp_path}$"):
        stored_models.names(model)
    assert stored_models.names(tmp_path) == ("net",)


def test_the_highest_version_is_the_default(tmp_path: Path) -> None:
    stored = stored_models.open_model(make(tmp_path, "9", "10", "2"))
    assert [*stored.versions] == ["2", "9", "10"]
    assert stored.default_version == "10"


def test_the_declaration_may_name_the_default(tmp_path: Path) -> None:
    stored = stored_models.open_model(make(tmp_path, "1", "2", more='default_version = "1"'))
    assert stored.default_version == "1"


@pytest.mark.parametrize("more", ['default_version = "3"', 'aliases = { old = "3" }'])
def test_a_version_that_does_not_exist_is_told(more: str, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="there is no version '3'; there are 1, 2"):
        stored_models.open_model(make(tmp_path, "1", "2", more=more))


def test_a_model_without_a_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="no version"):
        stored_models.open_model(make(tmp_path))


def test_hidden_folders_are_no_models(tmp_path: Path) -> None:
    make(tmp_path, "1").rename(tmp_path / ".building")
    make(tmp_path, "1")
    assert stored_models.names(tmp_path) == ("net",)


@pytest.mark.parametrize("name", ["cells:explain", "-cells", "Zellen é", "a" * 129, "cells\n"])
def test_a_name_that_no_request_can_have_is_told(name: str, tmp_path: Path) -> None:
    folder = make(tmp_path, "1").rename(tmp_path / name)
    # It has its place in the list of models, with the reason for which it does not load.
    assert stored_models.names(tmp_path) == (name,)
    with pytest.raises(DeclarationError, match=r"the name of the model's folder: .* of the form"):
        stored_models.open_model(folder)


@pytest.mark.parametrize("name", ["net", "Net-2.1_b", "0", "a" * 128])
def test_names_have_letters_digits_dots_dashes_and_underscores(name: str, tmp_path: Path) -> None:
    folder = make(tmp_path, "1").rename(tmp_path / name)
    assert stored_models.open_model(folder).declaration.name == name


def test_names_of_versions_and_aliases_are_of_that_form_too(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="name of a version's folder: '1:2' is not of"):
        stored_models.open_model(make(tmp_path / "versions", "1", "1:2"))
    with pytest.raises(DeclarationError, match="aliases: 'a b' is not of the form"):
        stored_models.open_model(make(tmp_path / "aliases", "1", more='aliases = { "a b" = "1" }'))


def test_the_digest_is_of_declaration_and_weights(tmp_path: Path) -> None:
    model = make(tmp_path, "1")
    digests = set()
    for name in ("1/other", "model.toml", "1/weights.safetensors"):
        _append(model / name, b"\n")
        stored = stored_models.open_model(model)
        digests.add(stored.digest(stored.versions["1"]))
    assert len(digests) == 3


def test_the_digest_is_of_the_code_too_but_not_of_its_bytecode(tmp_path: Path) -> None:
    model = make(tmp_path, "1")
    (model / "code" / "parts" / "__pycache__").mkdir(parents=True)
    digests = set()
    for name in ("code/net.py", "code/parts/zero.py", "code/parts/__pycache__/zero.pyc"):
        _append(model / name, b"\n")
        stored = stored_models.open_model(model)
        digests.add(stored.digest(stored.versions["1"]))
    assert len(digests) == 2


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="not a folder"):
        stored_models.names(tmp_path / "nowhere")


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
