"""Images in every form that callers have them in, and superpixels."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adcaptum.client import AsyncClient, Client, InvalidRequest, Superpixels
from adcaptum.client.codec.segments import segment
from adcaptum.client.codec.tensors import decode_tensor, encode_tensor
from adcaptum.v1 import model_pb2
from tests.unit.client.canned_server import CannedServicer

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
HALVES = np.zeros((1, 3, 16, 16), np.float32)
HALVES[:, :, :, 8:] = 1


@pytest.fixture
def pictures(servicer: CannedServicer) -> CannedServicer:
    """A server of a model of images and facts."""
    version = servicer.described.versions[0]
    version.inputs[0].name, version.inputs[0].kind = "photo", model_pb2.INPUT_KIND_IMAGE
    version.inputs[0].shape[:] = [-1, 3, 16, 16]
    del version.inputs[0].features[:]
    return servicer


def sent(servicer: CannedServicer) -> Any:
    request: Any = servicer.asked[-1][1]
    return decode_tensor(request.inputs[0])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "F"])
def test_images_of_pillow_lose_nothing(client: Client, pictures: CannedServicer, mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    for given in (image, [image, image]):
        client.predict("cells", given)
        for data in sent(pictures):
            with Image.open(io.BytesIO(data)) as read:
                same = image if mode not in {"CMYK", "F"} else image.convert("RGB")
                np.testing.assert_array_equal(np.asarray(read), np.asarray(same))


def test_one_image_needs_no_batch(client: Client, pictures: CannedServicer) -> None:
    for array in (PIXELS, np.zeros((3, 16, 16), np.float32)):
        for _ in range(2):
            client.predict("cells", array)
            np.testing.assert_array_equal(sent(pictures), array[None])


def test_a_row_of_another_kind_keeps_its_dimensions(
    client: Client, servicer: CannedServicer
) -> None:
    array = np.zeros((2, 3, 4), np.float32)
    client.predict("cells", array)
    assert sent(servicer).shape == (2, 3, 4)


def test_superpixels_are_found_in_the_image(client: Client, pictures: CannedServicer) -> None:
    client.explain("cells", HALVES, feature_masks=Superpixels(16))
    request: Any = pictures.asked[-1][1]
    (mask,) = request.spec.feature_masks
    assert mask.input == "photo"
    numbers = decode_tensor(mask.tensor)
    assert numbers.shape == HALVES.shape
    assert not set(numbers[..., :8].ravel()) & set(numbers[..., 8:].ravel())
    assert (numbers == numbers[:, :1]).all()
    assert pictures.rpcs == ["GetModel", "Explain"]


def test_superpixels_of_an_encoded_image_are_those_of_what_the_model_sees(
    client: Client, pictures: CannedServicer
) -> None:
    pictures.explanations.inputs.append(encode_tensor(HALVES, "photo"))
    client.explain("cells", Image.fromarray(PIXELS), feature_masks={"photo": Superpixels(16)})
    asked_for: list[Any] = [each for _, each in pictures.asked if hasattr(each, "spec")]
    look, asked = asked_for
    assert (look.spec.output.return_inputs, look.spec.methods[0].name) == (True, "saliency")
    assert decode_tensor(asked.spec.feature_masks[0].tensor).shape == HALVES.shape
    assert asked.inputs == look.inputs


async def test_superpixels_of_an_asynchronous_client(
    async_client: AsyncClient, pictures: CannedServicer
) -> None:
    await async_client.explain("cells", HALVES, feature_masks=Superpixels(16))
    request: Any = pictures.asked[-1][1]
    assert decode_tensor(request.spec.feature_masks[0].tensor).max() > 2


def test_superpixels_of_what_is_no_image_are_refused(client: Client) -> None:
    row = np.zeros((1, 3), np.float32)
    with pytest.raises(InvalidRequest, match="there are 0 images; must be of an image"):
        client.explain("cells", row, feature_masks=Superpixels())
    with pytest.raises(InvalidRequest, match="'measurements' is no image"):
        client.explain("cells", row, feature_masks={"measurements": Superpixels()})


@pytest.mark.parametrize("values", [{"count": 0}, {"compactness": 0.0}])
def test_superpixels_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Superpixels(**values)


def test_grey_images_and_blank_ones_have_superpixels() -> None:
    masks = segment(np.stack([HALVES[0, :1], HALVES[0, :1] * 0]), Superpixels(16))
    assert masks.shape == (2, 1, 16, 16)
    assert len(set(masks[0][:, :, :8].ravel()) & set(masks[0][:, :, 8:].ravel())) == 0
