"""MiniLM, a six-layer BERT encoder, with mean pooling and a small sentiment head.

The encoder is that of Devlin et al., "BERT" (2019), post-norm, distilled as in Wang et al.,
"MiniLM" (2020), and fine-tuned for sentences as all-MiniLM-L6-v2.
"""

import math

import torch
from torch import Tensor, nn

NORM_EPSILON = 1e-12


class Embeddings(nn.Module):
    """The sum of word, position and segment embeddings, normalised.

    Every token is of the first segment: the encoder reads one text at a time.
    """

    def __init__(self, words: int, positions: int, width: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words, width)
        self.position = nn.Embedding(positions, width)
        self.segment = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Maps token ids `(rows, length)` to `(rows, length, width)`."""
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        return self.norm(self.word(token_ids) + self.position(positions) + self.segment)


class SelfAttention(nn.Module):
    """Scaled dot-product attention in heads; `softmax` gives `(rows, heads, to, from)`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=-1)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Maps `(rows, length, width)` to its shape.

        Args:
            hidden: `(rows, length, width)`.
            bias: `(rows, 1, 1, length)`, added to the scores of the tokens looked at.
        """
        query, key, value = (
            projection(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        mixed = self.softmax(scores + bias) @ value
        return self.output(mixed.transpose(1, 2).flatten(-2))


class EncoderLayer(nn.Module):
    """Attention, then two linear maps with GELU between; each added to its input and normalised."""

    def __init__(self, width: int, heads: int, hidden_width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.expand = nn.Linear(width, hidden_width)
        self.gelu = nn.GELU()
        self.project = nn.Linear(hidden_width, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Maps `(rows, length, width)` to its shape; `bias` as in `SelfAttention`."""
        attended = self.attention_norm(hidden + self.attention(hidden, bias))
        return self.norm(attended + self.project(self.gelu(self.expand(attended))))


class MeanPooling(nn.Module):
    """The mean of the token states that the mask keeps."""

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Maps `(rows, length, width)` and a mask `(rows, length)` to `(rows, width)`."""
        kept = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)


class Encoder(nn.Module):
    """Texts to sentence embeddings."""

    def __init__(
        self,
        *,
        words: int = 30522,
        positions: int = 512,
        width: int = 384,
        heads: int = 12,
        hidden_width: int = 1536,
        depth: int = 6,
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(words, positions, width)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, hidden_width) for _ in range(depth))
        self.pool = MeanPooling()

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns sentence embeddings `(rows, width)`, not normalised.

        Args:
            token_ids: `(rows, length)` integers.
            attention_mask: `(rows, length)`, 1 for a token and 0 for padding.
        """
        hidden = self.embeddings(token_ids)
        absent = attention_mask[:, None, None, :] == 0
        # The lowest finite number: with minus infinity a row of nothing but padding would be NaN.
        bias = torch.zeros_like(absent, dtype=hidden.dtype)
        bias = bias.masked_fill(absent, torch.finfo(hidden.dtype).min)
        for layer in self.layers:
            hidden = layer(hidden, bias)
        return self.pool(hidden, attention_mask)


class SentimentHead(nn.Module):
    """A multilayer perceptron with one hidden layer, on a sentence embedding."""

    def __init__(self, width: int = 384, hidden_width: int = 64, classes: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.hidden = nn.Linear(width, hidden_width)
        self.gelu = nn.GELU()
        self.classify = nn.Linear(hidden_width, classes)

    def forward(self, embedding: Tensor) -> Tensor:
        """Maps sentence embeddings `(rows, width)` to logits `(rows, classes)`."""
        return self.classify(self.gelu(self.hidden(self.norm(embedding))))


class ReviewClassifier(nn.Module):
    """The encoder and the head."""

    def __init__(self, encoder: Encoder, head: SentimentHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns logits `(rows, classes)`.

        Args:
            token_ids: `(rows, length)` integers.
            attention_mask: `(rows, length)`, 1 for a token and 0 for padding.
        """
        return self.head(self.encoder(token_ids, attention_mask))


def build() -> nn.Module:
    """Returns the network in evaluation mode, its weights not loaded yet."""
    return ReviewClassifier(Encoder(), SentimentHead()).eval()
