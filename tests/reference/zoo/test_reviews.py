"""MiniLM against the embeddings of `transformers`, and the head against its training."""

import pytest
import torch
from torch import Tensor

from adcaptum.zoo.recipes import review_head
from adcaptum.zoo.recipes.encoder import embed, load_encoder
from adcaptum.zoo.reviews import Encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


def embeddings(encoder: Encoder, *texts: str) -> Tensor:
    return torch.nn.functional.normalize(embed(encoder, texts, lambda done: None))


# First four numbers of BertModel (transformers 5) with mean pooling, to unit length.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "A gripping film with a brilliant cast.",
            [-0.045981675, -0.054367218, -0.027283337, 0.019811509],
        ),
        ("Dull.", [-0.013934955, -0.051319253, 0.060344402, 0.113508478]),
        (
            "It's not a bad film; far from it - I loved all of it, twice!",
            [-0.046860293, -0.009351634, 0.039179225, -0.031880453],
        ),
    ],
)
def test_a_text_has_the_embedding_of_transformers(
    text: str, expected: list[float], encoder: Encoder
) -> None:
    torch.testing.assert_close(
        embeddings(encoder, text)[0, :4], torch.tensor(expected), rtol=0, atol=2e-6
    )


def test_sentences_of_like_meaning_are_near(encoder: Encoder) -> None:
    query, near, far = embeddings(
        encoder,
        "A man is playing the guitar.",
        "Someone plays music on a guitar.",
        "The stock market fell sharply on Monday.",
    )
    assert query @ near > 0.6
    assert query @ far < 0.2


def test_padding_changes_an_embedding_by_no_more_than_rounding(encoder: Encoder) -> None:
    short, long = "Dull.", "A long and winding sentence about a film that I saw last night."
    alone = embeddings(encoder, short)[0]
    together = embeddings(encoder, short, long)[0]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_training_gives_the_committed_head() -> None:
    head, held_out = review_head.train(lambda done: None)
    assert review_head.difference(head) <= review_head.TOLERANCE
    assert held_out > 0.75
