from pathlib import Path

import pytest

from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.repository import declaration_file
from adcaptum.service.placement import capacities, stored
from adcaptum.service.placement.capacities import PROCESS_BYTES
from adcaptum.service.placement.plan import Demand
from adcaptum.service.placement.terms import Terms
from adcaptum.service.settings import Settings

REST = """
factory = "a:b"
[[inputs]]
name = "x"
shape = [-1, 2]
[[outputs]]
name = "y"
shape = [-1, 1]
[placement]
"""


def write(repository: Path, name: str, placement: str, *sizes: int) -> None:
    folder = repository / name
    folder.mkdir()
    (folder / "model.toml").write_text(REST + placement)
    for version, size in enumerate(sizes):
        (folder / str(version)).mkdir()
        (folder / str(version) / "weights.safetensors").write_bytes(bytes(size))


def test_the_front_and_the_loader_read_the_same_terms(tmp_path: Path) -> None:
    text = 'devices = ["cuda:1", "cpu"]\nreplicas = 2\nmemory_bytes = 1000'
    write(tmp_path, "m", text, 10)
    terms = Terms(("cuda:1", "cpu"), 2, 1000)
    assert stored.demands(tmp_path) == [Demand("m", 1000, terms)]
    assert declaration_file.read(tmp_path / "m").placement == terms


def test_a_model_takes_the_size_of_its_versions_where_it_does_not_say(tmp_path: Path) -> None:
    write(tmp_path, "m", "", 10, 20)
    assert stored.demands(tmp_path) == [Demand("m", 30)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('devices = ["GPU 1"]', "'GPU 1' is not the name of a device"),
        ('devices = "cuda"', "'cuda' is not a list of texts"),
        ("replicas = 0", "0 is not at least 1"),
        ("memory_bytes = 1.5", "1.5 is not a whole number"),
        ("replica = 1", "unknown field"),
    ],
)
def test_a_wrong_table_is_refused_by_the_loader_and_the_front_goes_on(
    tmp_path: Path, text: str, problem: str
) -> None:
    write(tmp_path, "m", text, 10)
    with pytest.raises(DeclarationError, match=f"m/model.toml: placement.*: {problem}"):
        declaration_file.read(tmp_path / "m")
    (found,) = stored.demands(tmp_path)
    assert (found.name, found.nbytes) == ("m", 10)


def test_a_file_that_is_not_toml_is_a_model_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, "m", "]", 10)
    assert stored.demands(tmp_path) == [Demand("m", 10)]


def test_workers_divide_the_memory_of_their_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(repository=tmp_path)
    monkeypatch.setattr(capacities, "machine_bytes", lambda: 10 << 30)
    first, second = capacities.capacities(settings, ["cpu", "cpu"])
    assert (first.worker, second.worker) == ("0", "1")
    assert first.nbytes == second.nbytes == (5 << 30) - PROCESS_BYTES
    limited = Settings(repository=tmp_path, worker_memory_bytes=1 << 30)
    assert capacities.capacities(limited, ["cpu"] * 3)[2].nbytes == (1 << 30) - PROCESS_BYTES
    monkeypatch.setattr(capacities, "ASK_DEVICES", "print(1000, 3000)")
    found = capacities.capacities(settings, ["cuda:0", "cuda:1", "cuda:1"])
    assert [each.nbytes for each in found] == [1000, 1500, 1500]
    monkeypatch.setattr(capacities, "ASK_DEVICES", "raise SystemExit(1)")
    assert capacities.capacities(settings, ["cuda:0"])[0].nbytes is None
