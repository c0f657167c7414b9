"""New entries of a repository from a factory."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.scaffold import Scaffolded, scaffold
from adcaptum.service.models import checks, loading
from adcaptum.service.models.repository import stored_models

ROWS = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MODEL = """
from torch import nn
from shop.parts.head import Head

def build(hidden=8):
    return nn.Sequential(nn.Linear(5, hidden), nn.ReLU(), Head(hidden, 2))

def late():
    import helpers_of_shop
    return helpers_of_shop.Net()

def number():
    return 3
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "shop/parts").mkdir(parents=True)
    (tmp_path / "shop/__init__.py").write_text("")
    (tmp_path / "shop/parts/__init__.py").write_text("")
    (tmp_path / "shop/parts/head.py").write_text("from torch.nn import Linear as Head\n")
    (tmp_path / "shop/model.py").write_text(MODEL)
    (tmp_path / "shop/training.py").write_text("raise AssertionError('not needed to build')\n")
    (tmp_path / "helpers_of_shop.py").write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self):\n"
        "        super().__init__(5, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0].endswith("shop")]:
        del sys.modules[name]


def made(factory: str = "shop.model:build", rows: Tensor = ROWS, **more: object) -> Scaffolded:
    return scaffold("acme", factory, [rows], Path("models"), **more)  # type: ignore[arg-type]


def test_an_entry_loads_without_the_project_on_the_path(project: Path) -> None:
    created = made(arguments={"hidden": 3}, labels=["no", "yes"])
    assert created.code == (
        "shop/__init__.py",
        "shop/model.py",
        "shop/parts/__init__.py",
        "shop/parts/head.py",
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    stored = stored_models.open_model(created.folder)
    loaded = loading.load(stored, stored.versions["1"], torch.device("cpu"))
    assert checks.check(loaded).output_shape == (2,)
    assert loaded.declaration.outputs[0].labels == ("no", "yes")
    assert loaded.declaration.inputs[0].kind == "tabular"
    # NumPy's numbers are float64, and the weights are not.
    assert loaded.examples[0].dtype == torch.float32
    assert "# Readable names of modules" in (created.folder / "model.toml").read_text()
    assert str(project) not in sys.path


def test_code_that_is_imported_late_comes_too(project: Path) -> None:
    created = made("shop.model:late")
    assert "helpers_of_shop.py" in created.code
    stored = stored_models.open_model(created.folder)
    loading.load(stored, stored.versions["1"], torch.device("cpu"))
    assert (project / "models/acme/code/helpers_of_shop.py").is_file()


def test_weights_come_from_the_given_state_dict(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(project)
    from shop.model import build  # type: ignore[import-not-found] # the fixture made it

    weights = build().state_dict()
    created = made(weights=weights)
    stored = stored_models.open_model(created.folder)
    loaded = loading.load(stored, stored.versions["1"], torch.device("cpu"))
    assert torch.equal(loaded.module.state_dict()["0.weight"], weights["0.weight"])
    assert project in created.folder.resolve().parents


def test_an_installed_factory_is_not_copied(project: Path) -> None:
    created = scaffold(
        "acme", "torch.nn:Linear", [ROWS], Path("models"),
        arguments={"in_features": 5, "out_features": 2},
    )  # fmt: skip
    assert (created.code, created.allow) == ((), "torch")
    assert "allowed_packages = torch" in (project / "models/acme/model.toml").read_text()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"factory": "shop.model"}, "'shop.model' is not of the form 'module:callable'"),
        ({"factory": "shop.modle:build"}, "'shop.modle' cannot be imported from"),
        ({"factory": "shop.model:biuld"}, "shop.model has no 'biuld'. Did you mean 'build'?"),
        ({"factory": "shop.model:number"}, "shop.model:number returned int, not an nn.Module"),
        ({"arguments": {"hiden": 3}}, "shop.model:build raised TypeError"),
        ({"rows": ROWS[:, :3]}, "forward raised RuntimeError"),
        ({"weights": {}}, "weights: Error(s) in loading state_dict"),
        ({"labels": ["one"]}, "there are 1 labels: must be one for each class"),
    ],
)
def test_what_does_not_fit_is_told_and_leaves_nothing(
    project: Path, more: dict[str, object], reason: str
) -> None:
    with pytest.raises(AuthoringError) as caught:
        made(**more)  # type: ignore[arg-type]
    assert reason in str(caught.value)
    assert not (project / "models/acme").exists()


def test_names_are_checked_and_nothing_is_replaced(project: Path) -> None:
    with pytest.raises(AuthoringError, match=r"'\.\./acme' is not of the form"):
        scaffold("../acme", "shop.model:build", [ROWS], Path("models"))
    made()
    with pytest.raises(AuthoringError, match="models/acme is already there"):
        made()
    assert (project / "models/acme/model.toml").is_file()
