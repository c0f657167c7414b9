"""Pictures -> what a network takes."""

import io

import pytest
import torch
from PIL import Image

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models import images
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.wire.tensors import Bytes

PHOTO = InputDeclaration("photo", "image", "FP32", (-1, 3, 8, 8), resize=10)


def encoded(width: int, height: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), "white").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("width", "height"), [(20, 15), (7, 30), (10, 10)])
def test_any_size_becomes_the_models(kind: str, width: int, height: int) -> None:
    read = images.from_bytes(Bytes((encoded(width, height, kind),), (1,)), PHOTO, "x", 10_000)
    torch.testing.assert_close(read, torch.ones(1, 3, 8, 8))


def test_grey_images_get_the_models_channels() -> None:
    read = images.from_bytes(Bytes((encoded(9, 9, mode="L"),), (1,)), PHOTO, "x", 10_000)
    assert read.shape == (1, 3, 8, 8)


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(InvalidRequest, match="200 x 200 pixels; at most 10000"):
        images.from_bytes(Bytes((encoded(200, 200),), (1,)), PHOTO, "x", 10_000)


@pytest.mark.parametrize("data", [b"", b"nope", encoded(30, 30)[:60]], ids=["empty", "text", "cut"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not a readable PNG or JPEG"):
        images.from_bytes(Bytes((data,), (1,)), PHOTO, "x", 10_000)


@pytest.mark.parametrize("contents", ["data", "values"])
def test_errors_name_the_field_that_has_the_images(contents: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^x\.{contents}\[0\]: not a readable"):
        images.from_bytes(Bytes((b"nope",), (1,)), PHOTO, "x", 10_000, contents=contents)


def test_other_formats_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="not a readable PNG or JPEG"):
        images.from_bytes(Bytes((encoded(9, 9, "BMP"),), (1,)), PHOTO, "x", 10_000)


def test_pixels_are_resized_to_the_shorter_side_and_cropped_in_the_centre() -> None:
    pixels = torch.zeros(1, 10, 30, 3, dtype=torch.uint8)
    pixels[:, :, 11:19] = 255
    read = images.from_pixels(pixels, PHOTO, "x")
    torch.testing.assert_close(read, torch.ones(1, 3, 8, 8))


def test_pixels_with_other_channels_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="height, width, 3"):
        images.from_pixels(torch.zeros(1, 9, 9, 4, dtype=torch.uint8), PHOTO, "x")


def test_pixels_smaller_than_the_model_takes_are_refused_where_nothing_is_resized() -> None:
    fixed = InputDeclaration("photo", "image", "FP32", (-1, 3, 8, 8))
    with pytest.raises(InvalidRequest, match="the model takes 8 x 8"):
        images.from_pixels(torch.zeros(1, 7, 9, 3, dtype=torch.uint8), fixed, "x")


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "RGBA", "1", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bands_of_an_image_are_the_image(
    mode: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "BAND_PIXELS", 100)
    noise = Image.effect_noise((37, 23), 90).convert(mode)
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    declared = InputDeclaration("photo", "image", "FP32", (-1, channels, -1, -1))
    read = images.from_bytes(Bytes((buffer.getvalue(),), (1,)), declared, "x", 10_000)
    whole = Image.open(io.BytesIO(buffer.getvalue())).convert("L" if channels == 1 else "RGB")
    expected = torch.frombuffer(bytearray(whole.tobytes()), dtype=torch.uint8)
    pixels = expected.view(23, 37, channels).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(read[0], pixels, rtol=0, atol=0)


def test_an_image_is_turned_as_its_camera_says() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "white").save(buffer, "JPEG", exif=turned)
    declared = InputDeclaration("photo", "image", "FP32", (-1, 3, -1, -1))
    read = images.from_bytes(Bytes((buffer.getvalue(),), (1,)), declared, "x", 10_000)
    assert read.shape == (1, 3, 30, 20)


def test_a_header_of_any_size_is_refused_before_it_is_decoded() -> None:
    bomb = bytearray(encoded(30, 30))
    bomb[16:24] = (100_000).to_bytes(4) * 2
    with pytest.raises(InvalidRequest, match="100000 x 100000 pixels; at most 10000"):
        images.from_bytes(Bytes((bytes(bomb),), (1,)), PHOTO, "x", 10_000)


def test_images_are_given_up_between_one_and_the_next() -> None:
    looked = []

    def check() -> None:
        looked.append(True)
        if len(looked) == 3:
            raise TimeoutError

    many = Bytes((encoded(20, 20),) * 8, (8,))
    with pytest.raises(TimeoutError):
        images.from_bytes(many, PHOTO, "x", 10_000, check)
    assert len(looked) == 3
