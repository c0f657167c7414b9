"""Factories: the places they may come from, and the objects they may be."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import nn

from adcaptum.service.models.declaration import (
    Declaration,
    DeclarationError,
    InputDeclaration,
    OutputDeclaration,
)
from adcaptum.service.models.loaders.factory import build

CODE = """
from torch import nn
from torch.nn import Linear
from os import system

class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)

class NoNet:
    pass

def make():
    return Net()

def nothing() -> None:
    raise AssertionError("it was called")

def elsewhere() -> "no.such.Name":
    return Net()

number = 3
partial = __import__("functools").partial(make)
"""


def made(folder: Path, factory: str, allowed: Sequence[str] = ()) -> nn.Module:
    declaration = Declaration(
        name=folder.name,
        description="",
        factory=factory,
        inputs=(InputDeclaration("x", "tensor", "FP32", (-1, 3)),),
        outputs=(OutputDeclaration("y", "FP32", (-1, 2)),),
    )
    return build(declaration, folder, allowed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code = tmp_path / "acme" / "code"
    code.mkdir(parents=True)
    (code / "net.py").write_text(CODE)
    return code.parent


@pytest.mark.parametrize("name", ["Net", "make", "elsewhere"])
def test_code_beside_the_model_needs_no_path(folder: Path, name: str) -> None:
    assert isinstance(made(folder, f"net:{name}"), nn.Linear)


def test_code_that_changed_is_read_again(folder: Path) -> None:
    assert isinstance(made(folder, "net:make"), nn.Linear)
    (folder / "code" / "net.py").write_text(CODE + "\nclass Other(Net):\n    pass\n")
    assert type(made(folder, "net:Other")).__name__ == "Other"


def test_the_bundled_models_and_what_the_operator_allows_may_be_built(folder: Path) -> None:
    assert "standardise.mean" in made(folder, "adcaptum.zoo.cells:build").state_dict()
    with pytest.raises(DeclarationError, match=r"allow the package \(allowed_packages\)"):
        made(folder, "tests.models:cnn")
    assert made(folder, "tests.models:cnn", ("tests",)).state_dict()


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("os:system", "there is no module 'os' in acme/code/, and factories from elsewhere"),
        ("acme.net:Net", "there is no module 'acme.net' in acme/code/"),
        ("net:Nett", "net has no 'Nett'. Did you mean 'Net'?"),
        ("net:system", "is a builtin_function_or_method"),
        ("net:NoNet", "is a class, but not a subclass of nn.Module"),
        ("net:Linear", "is defined in torch.nn.modules.linear; must be defined in"),
        ("net:nothing", "returns NoneType by its annotation"),
        ("net:number", "is a int; must be a Python function or an nn.Module class"),
        ("net:partial", "is a partial; must be a Python function or an nn.Module class"),
        ("adcaptum.zoo.demo:main", "returns NoneType by its annotation"),
        ("adcaptum.zoo.package_file:hashlib", "is a module"),
    ],
)
def test_nothing_else_is_called(folder: Path, factory: str, reason: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        made(folder, factory)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"acme: factory {factory!r}: ")
