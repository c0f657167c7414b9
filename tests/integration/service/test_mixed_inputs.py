"""A model of an image, a table and a text, explained by all of its inputs at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from adcaptum.client import Background, Client, Explanation, Explanations, InvalidRequest, Method
from adcaptum.service.authoring.in_process import serving_folder
from adcaptum.service.authoring.trial import trial
from adcaptum.service.cli.app import app
from tests import mixed_model
from tests.mixed_model import COLUMNS, NAME, TEXTS

Array = npt.NDArray[Any]
GRADIENTS = (
    "saliency", "input_x_gradient", "integrated_gradients", "deep_lift", "gradient_shap",
    "smooth_grad", "lrp", "guided_backprop", "expected_gradients",
)  # fmt: skip
OTHERS = ("feature_ablation", "kernel_shap", "lime", "shapley_value_sampling", "occlusion")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = mixed_model.write(tmp_path_factory.mktemp("mixed"))
    with serving_folder(folder) as serving:
        assert not serving.failures
        yield serving.address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as connected:
        yield connected


def inputs(*texts: str) -> dict[str, Any]:
    chosen = texts or TEXTS[:1]
    return {n: v[: len(chosen)] for n, v in mixed_model.rows().items()} | {"text": list(chosen)}


def outputs(given: dict[str, Any]) -> torch.Tensor:
    found: torch.Tensor = mixed_model.module()(
        torch.from_numpy(given["photo"]),
        torch.from_numpy(given["facts"]),
        *mixed_model.ids(given["text"]),
    )
    return found


def explain(client: Client, given: dict[str, Any], method: Any, **more: Any) -> Explanations:
    return client.explain(NAME, given, methods=method, targets=2, cache="bypass", **more)


def values(explanation: Explanation) -> dict[str, Array]:
    return {name: each.values for name, each in explanation.attributions.items()}


def test_it_predicts_texts_of_any_lengths(client: Client) -> None:
    given = inputs(*TEXTS)
    found = client.predict(NAME, given).outputs["price"]
    np.testing.assert_allclose(found, outputs(given), rtol=1e-5)


@pytest.mark.parametrize("method", [*GRADIENTS, *OTHERS])
def test_every_input_has_attributions_of_its_own_form(client: Client, method: str) -> None:
    more: dict[str, Any] = {}
    if method in OTHERS and method != "occlusion":
        more["feature_masks"] = {"photo": np.arange(192).reshape(1, 3, 8, 8) // 48}
    (explanation,) = explain(client, inputs(), method, **more)
    found = explanation.attributions
    tokens = ["[CLS]", *TEXTS[0].split(), "[SEP]"]
    assert [each.values.shape for each in found.values()] == [(3, 8, 8), (4,), (len(tokens),)]
    assert list(found) == ["photo", "facts", "text"]
    assert found["facts"].features == COLUMNS
    assert [each.text for each in found["text"].tokens] == tokens
    for each in found.values():
        assert np.abs(each.values).max() > 0


def test_gradients_are_those_of_the_module(client: Client) -> None:
    given = inputs()
    found = values(explain(client, given, Method("saliency", abs=False))[0])
    model = mixed_model.module()
    photo, facts = (torch.from_numpy(given[n]).requires_grad_() for n in ("photo", "facts"))
    ids, mask = mixed_model.ids(given["text"])
    words = model.get_submodule("words")(ids).detach().requires_grad_()
    model.words = torch.nn.Identity()
    torch.autograd.backward(model(photo, facts, words, mask)[0, 2])
    for name, leaf in (("photo", photo), ("facts", facts)):
        assert leaf.grad is not None
        np.testing.assert_allclose(found[name], leaf.grad[0], atol=1e-6)
    assert words.grad is not None
    np.testing.assert_allclose(found["text"], words.grad[0].sum(1), atol=1e-6)


@pytest.mark.parametrize("method", ["integrated_gradients", "deep_lift", "kernel_shap"])
def test_attributions_of_all_inputs_add_up(client: Client, method: str) -> None:
    masks = {"photo": np.arange(192).reshape(1, 3, 8, 8) // 48}
    more: dict[str, Any] = {"feature_masks": masks} if method == "kernel_shap" else {}
    given = inputs()
    base = {"photo": "grey", "facts": np.ones((1, 4), np.float32)}
    asked = Method(method, n_steps=200) if method == "integrated_gradients" else method
    (explanation,) = explain(client, given, asked, baselines=base, **more)
    blank = inputs("[PAD] " * 6)
    blank["photo"] = np.full_like(blank["photo"], 0.5)
    blank["facts"] = np.ones_like(blank["facts"])
    expected = (outputs(given) - outputs(blank))[0, 2].item()
    found = values(explanation)
    if method == "kernel_shap":
        # Each element of a feature has the feature's value.
        found["photo"] = found["photo"].ravel()[::48]
        found["text"] = found["text"][1:-1]
        found["special"] = np.zeros(1)
    assert sum(each.sum() for each in found.values()) == pytest.approx(expected, abs=1e-3)


def test_each_token_and_column_is_a_feature_beside_the_groups_of_an_image(client: Client) -> None:
    given = inputs()
    masks = {"photo": np.arange(192).reshape(1, 3, 8, 8) // 96}
    (explanation,) = explain(client, given, "feature_ablation", feature_masks=masks)
    found = values(explanation)
    whole = outputs(given)[0, 2].item()
    words = given["text"][0].split()
    for place in range(len(words)):
        other = {**given, "text": [" ".join([*words[:place], "[PAD]", *words[place + 1 :]])]}
        assert found["text"][place + 1] == pytest.approx(
            whole - outputs(other)[0, 2].item(), abs=1e-5
        )
    for column in range(4):
        facts = given["facts"].copy()
        facts[0, column] = 0
        expected = whole - outputs({**given, "facts": facts})[0, 2].item()
        assert found["facts"][column] == pytest.approx(expected, abs=1e-5)
    photo = given["photo"].copy()
    photo.reshape(-1)[:96] = 0
    expected = whole - outputs({**given, "photo": photo})[0, 2].item()
    assert found["photo"].ravel()[:96] == pytest.approx(np.full(96, expected), abs=1e-5)


def test_texts_of_several_lengths_are_explained_as_alone(client: Client) -> None:
    for method in ("integrated_gradients", Method("lime", n_samples=50)):
        masks = {"photo": np.zeros((1, 3, 8, 8), np.int64)}
        together = explain(client, inputs(*TEXTS), method, feature_masks=masks, seed=1)
        for place, text in enumerate(TEXTS):
            alone = {n: v[place : place + 1] for n, v in mixed_model.rows().items()}
            (own,) = explain(client, alone | {"text": [text]}, method, feature_masks=masks, seed=1)
            assert together[place].example == place
            for name, expected in values(own).items():
                np.testing.assert_allclose(
                    values(together[place])[name], expected, rtol=1e-4, atol=1e-5
                )


def test_interactions_name_groups_columns_and_tokens(client: Client) -> None:
    masks = {"photo": np.zeros((1, 3, 8, 8), np.int64)}
    given = inputs("quiet flat")
    (explanation,) = explain(client, given, "shapley_interactions", feature_masks=masks)
    assert explanation.interactions is not None
    names = explanation.interactions.features
    assert names[0] == "0"
    assert names[-3:] == ("quiet", "flat", "[CLS] [SEP]")
    assert len(names) == 1 + 4 + 3


def test_a_table_beside_a_text_is_compared_with_the_background(client: Client) -> None:
    more: dict[str, Any] = {"baselines": {"facts": Background(3)}}
    assert len(explain(client, inputs(), "expected_gradients", **more)) == 1
    with pytest.raises(InvalidRequest, match="a distribution beside texts; must be of one example"):
        explain(client, inputs(*TEXTS), "expected_gradients", **more)


def test_channels_and_components_are_summed(client: Client) -> None:
    (apart,) = explain(client, inputs(), "saliency")
    (summed,) = explain(client, inputs(), "saliency", channel_reduction="sum")
    np.testing.assert_allclose(
        summed.attributions["photo"].values, apart.attributions["photo"].values.sum(0), rtol=1e-5
    )
    for name in ("facts", "text"):
        np.testing.assert_array_equal(values(summed)[name], values(apart)[name])


def test_the_largest_features_of_each_input_are_kept(client: Client) -> None:
    (whole,) = explain(client, inputs(), "saliency")
    (few,) = explain(client, inputs(), "saliency", max_features=2)
    for name, each in few.attributions.items():
        assert each.indices is not None
        expected = whole.attributions[name].values.ravel()[each.indices]
        np.testing.assert_allclose(each.values, expected, rtol=1e-5)
    assert len(few.attributions["text"].tokens) == 2


@pytest.mark.parametrize(
    ("change", "more", "told"),
    [
        ({"text": None}, {}, r"inputs: missing: text"),
        ({"text": ["one", "two"]}, {}, r"different numbers of examples: .*'text': 2"),
        ({"text": np.zeros((1, 3), np.int32)}, {}, r"INT32; a text is BYTES of UTF-8"),
        ({"photo": ["a text"]}, {}, r"inputs\[0\]"),
        ({}, {"baselines": {"text": 0.0}}, r"texts have named baselines only: pad"),
        (
            {},
            {"feature_masks": {"text": np.zeros((1, 8), np.int64)}},
            r"spec.feature_masks\[0\]: texts take none",
        ),
    ],
)
def test_what_does_not_fit_is_told(
    client: Client, change: dict[str, Any], more: dict[str, Any], told: str
) -> None:
    given = {name: value for name, value in (inputs() | change).items() if value is not None}
    with pytest.raises(InvalidRequest, match=told):
        explain(client, given, "saliency", **more)


def test_check_asks_every_method_about_all_inputs(tmp_path: Path) -> None:
    folder = mixed_model.write(tmp_path)
    found = trial(folder, seconds=10, report=lambda *_: None, settings={"log_level": "error"})
    assert found.passed, found
    verdicts = {each.name: each.verdict for each in found.outcomes}
    asked = {*GRADIENTS, *OTHERS, "grad_cam", "conductance"}
    assert {name for name in asked if verdicts[name] != "ok"} == {"conductance"}


def test_all_inputs_come_from_a_command_line(address: str, tmp_path: Path) -> None:
    photo = np.zeros((8, 8, 3), np.uint8)
    photo[:, 4:] = 255
    Image.fromarray(photo).save(tmp_path / "a.png")
    (tmp_path / "facts.csv").write_text("year,rooms,floor,area\n1,2,0,3\n")
    words = [
        "explain", NAME, "--text", "small dark flat", "--image", str(tmp_path / "a.png"),
        "--csv", str(tmp_path / "facts.csv"), "--method", "lime", "--param", "n_samples=60",
        "--feature-mask", "photo=superpixels:16", "--baseline", "photo=grey", "--target", "dear",
        "--seed", "1",
    ]  # fmt: skip
    runner = CliRunner(env={"ADCAPTUM_ADDRESS": address, "COLUMNS": "160"})
    printed = runner.invoke(app, [*words, "--json"])
    assert printed.exit_code == 0, printed.stderr
    (explanation,) = json.loads(printed.stdout)["results"][0]["explanations"]
    found = {
        each["name"]: np.array(each["values"]["values"]) for each in explanation["attributions"]
    }
    assert [found[name].shape for name in ("photo", "facts", "text")] == [(3, 8, 8), (4,), (5,)]
    assert 1 < len(np.unique(found["photo"])) <= 40
    shown = runner.invoke(app, words)
    assert shown.exit_code == 0, shown.stderr
    for word in ("rooms", "dark"):
        assert word in shown.stdout
    wrong = runner.invoke(app, [*words[:6], "--input", "facts=1,2,x,4"])
    assert "facts: row 1, column 'floor': 'x' is not a number" in " ".join(wrong.stderr.split())
