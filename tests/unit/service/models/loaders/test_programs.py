"""Exported programs and TorchScript archives: trust, and what can be explained on them."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Site, explain
from adcaptum.service.models import checks, loading
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.loaders import LOADERS, trust
from adcaptum.service.models.loaders.loader import Source
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository import stored_models
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.rpc.descriptions import methods

# torch's own: TorchScript is deprecated at each use, and export copies a deprecated class.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]

ROWS = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TOML = """
loader = "{loader}"
inputs = [{{ name = "x", shape = [-1, 1, 8, 8] }}]
outputs = [{{ name = "y", shape = [-1, 3] }}]
examples = {{ file = "examples.safetensors" }}
{more}
"""
RULES = ("deep_lift", "deep_lift_shap", "lrp", "guided_backprop", "deconvolution")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        self.normal = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 8 * 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.normal(self.convolution(x)).relu().flatten(1))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def export(net: nn.Module, file: Path, *, dynamic: bool = True) -> None:
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    torch.export.save(torch.export.export(net, (ROWS,), dynamic_shapes=shapes), file)


def script(net: nn.Module, file: Path) -> None:
    torch.jit.save(torch.jit.trace(net, (ROWS,)), str(file))


def written(folder: Path, loader: str, more: str = "", *, trusted: bool = True) -> Path:
    path = f"1/{LOADERS[loader].file}"
    safetensors.torch.save_file({"x": ROWS}, folder / "examples.safetensors")
    if trusted:
        more += f'\n[trusted]\n"{path}" = "{trust.sha256(folder / path)}"\n'
    (folder / "model.toml").write_text(TOML.format(loader=loader, more=more))
    return folder


def load(folder: Path) -> LoadedModel:
    stored = stored_models.open_model(folder)
    return loading.load(stored, stored.versions["1"], torch.device("cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net" / "1").mkdir(parents=True)
    return tmp_path / "net"


def test_an_exported_program_is_explained_as_its_module(net: nn.Module, folder: Path) -> None:
    export(net, folder / "1/model.pt2")
    loaded = load(written(folder, "torch_export"))
    assert checks.check(loaded).independent
    for name in (*RULES, "saliency", "integrated_gradients"):
        question = Explicand.of(ROWS, target=1, baselines=0.0)
        found = explain(loaded.module, METHODS[name](), question).values[0]
        expected = explain(net, METHODS[name](), question).values[0]
        torch.testing.assert_close(found, expected, msg=name)
    question = Explicand.of(ROWS, target=1, at=Site("convolution"))
    found = explain(loaded.module, METHODS["layer_cam"](), question).values[0]
    torch.testing.assert_close(found, explain(net, METHODS["layer_cam"](), question).values[0])


def test_an_archive_is_explained_at_inputs_only(net: nn.Module, folder: Path) -> None:
    script(net, folder / "1/model.pt")
    loaded = load(written(folder, "torchscript"))
    torch.testing.assert_close(loaded.module(ROWS), net(ROWS))
    question = Explicand.of(ROWS, target=1)
    found = explain(loaded.module, METHODS["saliency"](), question).values[0]
    torch.testing.assert_close(found, explain(net, METHODS["saliency"](), question).values[0])
    refused = {
        each.name: each.availability.reason
        for each in methods(ServedModel.of(loaded, checks.check(loaded)))
        if each.availability.reason
    }
    for name in RULES:
        # Without this they would take the whole model for one operation, and be wrong in silence.
        assert "operations, which a torchscript model hides" in refused[name]
    assert refused["layer_cam"] == "it needs a layer, and the model has none"
    assert "integrated_gradients" not in refused


@pytest.mark.parametrize("loader", ["torch_export", "torchscript"])
def test_a_file_that_may_run_code_is_not_loaded_without_trust(
    loader: str, folder: Path, tmp_path: Path
) -> None:
    # A pickle that makes a file if it is loaded.
    mark = tmp_path / "it ran"
    harm = f"cposix\nsystem\n(S'touch \"{mark}\"'\ntR."
    path = folder / "1" / LOADERS[loader].file
    path.write_text(harm)
    written(folder, loader, trusted=False)
    with pytest.raises(DeclarationError) as caught:
        load(folder)
    assert f"net/model.toml: trusted: '1/{path.name}' is missing" in str(caught.value)
    assert f'"1/{path.name}" = "{trust.sha256(path)}"' in str(caught.value)
    assert not mark.exists()


def test_another_file_than_the_trusted_one_is_not_loaded(net: nn.Module, folder: Path) -> None:
    export(net, folder / "1/model.pt2")
    written(folder, "torch_export")
    with (folder / "1/model.pt2").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DeclarationError, match="another file than the one that was trusted"):
        load(folder)


@pytest.mark.parametrize("loader", ["torch_export", "torchscript"])
def test_what_is_loaded_is_what_was_hashed(loader: str, net: nn.Module, folder: Path) -> None:
    path = folder / "1" / LOADERS[loader].file
    (export if loader == "torch_export" else script)(net, path)
    written(folder, loader)
    stored = stored_models.open_model(folder)
    source = Source(stored.declaration, folder, path)
    checked = trust.checked(source)
    # Whoever may write there exchanges the file when its trust has been checked.
    path.write_bytes(b"harm")
    module = LOADERS[loader].load(checked)
    torch.testing.assert_close(module(ROWS), net(ROWS))
    with pytest.raises(DeclarationError, match="another file than the one that was trusted"):
        trust.checked(source)


def test_a_program_of_a_fixed_batch_says_how_to_export_it(net: nn.Module, folder: Path) -> None:
    export(net, folder / "1/model.pt2", dynamic=False)
    with pytest.raises(DeclarationError, match=r"fixed shape \[3, 1, 8, 8\].*dynamic_shapes"):
        load(written(folder, "torch_export"))


@pytest.mark.parametrize(
    ("loader", "more", "reason"),
    [
        ("torch_exprot", "", "loader: 'torch_exprot' is not one of 'factory'"),
        ("torchscript", 'factory = "a:b"', "factory: only the loader 'factory' has one"),
        ("torchscript", "arguments = { a = 1 }", "arguments.a: the loader 'torchscript' has no"),
        ("torchscript", 'trusted = { "1/x" = "12" }', "'12' is not a SHA-256 of 64 digits"),
    ],
)
def test_a_wrong_declaration_names_its_field(
    loader: str, more: str, reason: str, net: nn.Module, folder: Path
) -> None:
    script(net, folder / "1/model.pt")
    known = loader if loader in LOADERS else "torchscript"
    written(folder, known, more, trusted="trusted" not in more)
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace(f'"{known}"', f'"{loader}"', 1))
    with pytest.raises(DeclarationError) as caught:
        load(folder)
    assert reason in str(caught.value)


def test_the_digest_is_of_every_file_of_the_version(net: nn.Module, folder: Path) -> None:
    export(net, folder / "1/model.pt2")
    stored = stored_models.open_model(written(folder, "torch_export"))
    before = stored.digest(stored.versions["1"])
    (folder / "1/more.json").write_text("{}")
    assert stored.digest(stored.versions["1"]) != before
