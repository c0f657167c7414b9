import numpy as np
import pytest
import torch

from adcaptum.zoo import samples
from adcaptum.zoo.photographs import PHOTOGRAPHS, Photograph
from adcaptum.zoo.recipes import cells, digits, photos, review_data


def test_the_photograph_is_pixels() -> None:
    picture = samples.photograph()
    assert picture.dtype == np.uint8
    assert picture.shape == (300, 451, 3)


def test_a_photograph_of_another_name_is_not_there() -> None:
    with pytest.raises(KeyError, match="dog"):
        samples.photograph("dog")


def test_the_measurements_are_of_a_row_that_training_did_not_see() -> None:
    row = torch.from_numpy(samples.measurements())
    assert row.shape == (30,)
    assert not (cells.load().train == row).all(dim=1).any()


def test_the_digit_is_one_that_training_did_not_see() -> None:
    digit = torch.from_numpy(samples.digit())
    assert digit.shape == (1, 8, 8)
    assert not (digits.load().train == digit).flatten(1).all(dim=1).any()


def test_the_review_is_none_of_the_data() -> None:
    data = review_data.load()
    assert samples.review() not in {*data.train, *data.test}


def test_no_review_is_on_both_sides_of_the_split() -> None:
    data = review_data.load()
    assert not {*data.train} & {*data.test}


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_a_crop_is_what_the_model_takes(photograph: Photograph) -> None:
    crop = photograph.crop()
    assert crop.dtype == np.float32
    assert crop.shape == (3, 224, 224)
    assert 0 <= crop.min() < crop.max() <= 1


def test_every_label_of_a_photograph_is_one_of_imagenet() -> None:
    wanted = {label for photograph in PHOTOGRAPHS for label in photograph.labels}
    assert wanted <= set(photos.labels())
