"""The sentiment head: its training and the committed result.

Training embeds thousands of reviews, too long for a build, so the head's weights are committed and
`python -m adcaptum.zoo train-reviews` makes them again.
"""

from importlib import resources
from typing import Final

import safetensors.torch
from torch import Tensor

from adcaptum.zoo.recipes import review_data
from adcaptum.zoo.recipes.encoder import embed, load_encoder
from adcaptum.zoo.reviews import SentimentHead
from adcaptum.zoo.training import Report, accuracy, fit, reproducible

SEED: Final = 0
FILE: Final = "reviews_head.safetensors"
EMBEDDING_SHARE: Final = 0.9
# A difference of weights: processors add in different orders.
TOLERANCE: Final = 1e-3


def committed() -> dict[str, Tensor]:
    """Returns the head's weights as committed."""
    return safetensors.torch.load(resources.files("adcaptum.zoo").joinpath(FILE).read_bytes())


def train(report: Report) -> tuple[SentimentHead, float]:
    """Trains the head on embeddings of the training reviews; the encoder stays as it is.

    Returns:
        The head, and its accuracy on the held-out reviews.
    """
    data = review_data.load()
    embeddings = embed(
        load_encoder(), data.train + data.test, lambda done: report(EMBEDDING_SHARE * done)
    )
    # A copy made outside inference mode may take part in training.
    seen, held_out = embeddings.clone().split([len(data.train), len(data.test)])
    head = fit_head(
        seen,
        data.train_labels,
        lambda done: report(EMBEDDING_SHARE + (1 - EMBEDDING_SHARE) * done),
    )
    return head, accuracy(head, held_out, data.test_labels)


def fit_head(inputs: Tensor, targets: Tensor, report: Report) -> SentimentHead:
    """Trains a head on sentence embeddings `(rows, width)` and classes `(rows,)`."""
    with reproducible(SEED):
        head = SentimentHead()
        fit(
            head,
            inputs,
            targets,
            epochs=10,
            batch_rows=64,
            learning_rate=1e-3,
            weight_decay=1.0,
            report=report,
        )
    return head


def difference(head: SentimentHead) -> float:
    """Returns the largest difference between a head's weights and the committed ones."""
    known = committed()
    return max(float((known[k] - v).abs().max()) for k, v in head.state_dict().items())
