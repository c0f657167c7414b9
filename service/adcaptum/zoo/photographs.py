"""The labelled photographs that ship in the installed packages."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcaptum.zoo.package_file import package_file

RESIZE: Final = 256
CROP: Final = 224


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph and the ImageNet labels that a person would accept for it.

    Attributes:
        name: Ours.
        package: The package that it ships in.
        path: Its path there.
        labels: Any of them is right.
    """

    name: str
    package: str
    path: str
    labels: frozenset[str]

    def pixels(self) -> NDArray[np.uint8]:
        """Returns the picture as `(height, width, 3)`, RGB, 0..255."""
        return np.asarray(self._image(), dtype=np.uint8)

    def crop(self) -> NDArray[np.float32]:
        """Returns the centre as a model takes it: `(3, 224, 224)`, 0..1.

        The shorter side becomes 256 pixels, bicubic with antialiasing, before the crop.
        """
        image = self._image()
        scale = RESIZE / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        left, top = (size[0] - CROP) // 2, (size[1] - CROP) // 2
        image = image.resize(size, Image.Resampling.BICUBIC)
        image = image.crop((left, top, left + CROP, top + CROP))
        return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)

    def _image(self) -> Image.Image:
        with Image.open(package_file(self.package, self.path)) as image:
            return image.convert("RGB")


def _photograph(name: str, package: str, path: str, *labels: str) -> Photograph:
    return Photograph(name, package, path, frozenset(labels))


PHOTOGRAPHS: Final = (
    _photograph("cat", "skimage", "data/chelsea.png", "tabby", "tiger cat", "Egyptian cat"),
    _photograph("coffee", "skimage", "data/coffee.png", "espresso", "cup", "coffee mug"),
    _photograph(
        "motorcycle", "skimage", "data/motorcycle_left.png", "moped", "motor scooter", "disk brake"
    ),
    _photograph("rocket", "skimage", "data/rocket.jpg", "missile", "projectile", "space shuttle"),
    _photograph("astronaut", "skimage", "data/astronaut.png", "space shuttle"),
    _photograph("cameraman", "skimage", "data/camera.png", "tripod", "reflex camera"),
    _photograph("clock", "skimage", "data/clock_motion.png", "analog clock", "wall clock"),
    _photograph(
        "officer", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "military uniform"
    ),
    _photograph("palace", "sklearn", "datasets/images/china.jpg", "palace"),
    _photograph("flower", "sklearn", "datasets/images/flower.jpg", "daisy"),
)
