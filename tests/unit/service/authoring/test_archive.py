"""Archives of models: the same bytes for the same files, and nothing unpacked that is not right."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adcaptum.service.authoring.archive import pack, unpack
from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.service.models.repository import stored_models


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return ModelFolder(
        name="net",
        configuration={
            "factory": "net:build",
            "inputs": [{"name": "x", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "shape": [-1, 3]}],
        },
        weights={"weight": torch.ones(3, 2)},
        texts={"code/net.py": "def build(): ...\n"},
    ).write(tmp_path / "models")


def test_an_archive_comes_back_as_the_same_model(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder, tmp_path / "net.tar")
    again = unpack(packed.path, tmp_path / "others")
    assert again == tmp_path / "others/net"
    one, other = stored_models.open_model(folder), stored_models.open_model(again)
    assert one.digest(one.versions["1"]) == other.digest(other.versions["1"])
    assert packed.files == 3


def test_equal_folders_give_equal_archives(folder: Path, tmp_path: Path) -> None:
    first = pack(folder, tmp_path / "first.tar")
    copy = unpack(first.path, tmp_path / "others")
    (copy / "code/__pycache__").mkdir()
    (copy / "code/__pycache__/net.pyc").write_bytes(b"")
    (copy / ".hidden").write_text("")
    (copy / "model.toml").chmod(0o600)
    os.utime(copy / "model.toml", (1, 1))
    second = pack(copy, tmp_path / "second.tar")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sha256 == second.sha256


def test_a_model_that_is_there_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder, tmp_path / "net.tar")
    with pytest.raises(AuthoringError, match=r"net is already there; remove it, or .*--into"):
        unpack(packed.path, folder.parent)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["net"]


def test_what_leads_out_of_the_folder_is_not_packed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(AuthoringError, match="net/link: leads out of the model's folder"):
        pack(folder, tmp_path / "net.tar")


def test_a_folder_that_is_no_model_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(AuthoringError, match=r"model\.toml: No such file"):
        pack(tmp_path)


def changed(path: Path, change: Callable[[tarfile.TarInfo, bytes], tuple[str, bytes]]) -> Path:
    """An archive with other entries."""
    made = path.with_name("changed.tar")
    with tarfile.open(path) as archive, tarfile.open(made, "w") as other:
        for entry in archive:
            stream = archive.extractfile(entry)
            assert stream is not None
            entry.name, content = change(entry, stream.read())
            entry.size = len(content)
            if entry.name:
                other.addfile(entry, io.BytesIO(content))
    return made


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda e, c: (e.name, c.replace(b"...", b"1/0")),
            "'net/code/net.py' is not what SHA256SUMS says",
        ),
        (
            lambda e, c: ("" if "net.py" in e.name else e.name, c),
            "'code/net.py' is missing",
        ),
        (
            lambda e, c: (e.name.replace("code/", "cod/"), c),
            "'net/cod/net.py' is not in SHA256SUMS",
        ),
        (
            lambda e, c: (e.name.replace("net/code", "net/../../x"), c),
            "does not belong into such an archive",
        ),
        (lambda e, c: (f"/{e.name}", c), "'/net/SHA256SUMS' does not belong"),
        (lambda e, c: ("" if "SUMS" in e.name else e.name, c), "does not begin with SHA256SUMS"),
        (lambda _, c: ("net/SHA256SUMS", c[:-1].replace(b"  ", b" ")), "is no line of sha256sum"),
    ],
)
def test_nothing_of_a_changed_archive_is_left(
    folder: Path,
    tmp_path: Path,
    change: Callable[[tarfile.TarInfo, bytes], tuple[str, bytes]],
    reason: str,
) -> None:
    path = changed(pack(folder, tmp_path / "net.tar").path, change)
    with pytest.raises(AuthoringError) as caught:
        unpack(path, tmp_path / "others")
    assert reason in str(caught.value)
    assert not list((tmp_path / "others").iterdir())
    assert not (tmp_path / "x").exists()


def test_links_and_other_files_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        link = tarfile.TarInfo("net/model.toml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "text.tar").write_text("no archive")
    for name, reason in (("bad", "does not belong"), ("text", "no archive of a model")):
        with pytest.raises(AuthoringError, match=reason):
            unpack(tmp_path / f"{name}.tar", tmp_path / "others")


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    path, size = tmp_path / "m.tar", 1 << 20
    sums = f"{hashlib.sha256(bytes(size)).hexdigest()}  1/zeros\n".encode()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        first = tarfile.TarInfo("m/SHA256SUMS")
        first.size = len(sums)
        archive.addfile(first, io.BytesIO(sums))
        sparse = tarfile.TarInfo("m/1/zeros")
        sparse.pax_headers = {"GNU.sparse.map": f"{size},0", "GNU.sparse.size": str(size)}
        archive.addfile(sparse)
    assert path.stat().st_size < size / 50
    with pytest.raises(AuthoringError, match="does not belong"):
        unpack(path, tmp_path / "models")
    assert [*(tmp_path / "models").iterdir()] == []


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("m/a")
        entry.pax_headers = {"path": "m/a\0b"}
        archive.addfile(entry)
    with pytest.raises(AuthoringError, match="does not belong"):
        unpack(path, tmp_path / "models")
