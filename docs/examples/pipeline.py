"""Fit a classifier, explain its test set, and rank the features.

Run it with `python docs/examples/pipeline.py`; it needs `adcaptum[engine]` and scikit-learn.
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, explain


class Explained:
    """A classifier with `fit`, `predict` and `explain`."""

    def __init__(self, method: str = "integrated_gradients", **params: object) -> None:
        self.method = METHODS[method](**params)

    def fit(self, rows: Tensor, labels: Tensor) -> Explained:
        """Train a small network."""
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(rows.shape[1], 32), nn.ReLU(), nn.Linear(32, 2))
        optimiser = torch.optim.Adam(self.model.parameters(), lr=0.01)
        for _ in range(200):
            optimiser.zero_grad()
            nn.functional.cross_entropy(self.model(rows), labels).backward()
            optimiser.step()
        self.model.eval()
        return self

    def predict(self, rows: Tensor) -> Tensor:
        """Return the class of each row."""
        return self.model(rows).argmax(dim=1)

    def explain(self, rows: Tensor) -> Tensor:
        """Return the contribution of each feature to the predicted class, of the rows' shape."""
        question = Explicand.of(rows, target=self.predict(rows).tolist(), baselines=0.0)
        return explain(self.model, self.method, question).values[0]


def main() -> None:
    """Fit, explain and print the five features of the largest mean contribution."""
    data = load_breast_cancer()
    train, test, labels, wanted = train_test_split(data.data, data.target, random_state=0)
    scaler = StandardScaler().fit(train)
    rows, unseen = (
        torch.tensor(scaler.transform(each), dtype=torch.float32) for each in (train, test)
    )
    explained = Explained("integrated_gradients", n_steps=50).fit(rows, torch.tensor(labels))
    accuracy = (explained.predict(unseen) == torch.tensor(wanted)).float().mean()
    sys.stdout.write(f"accuracy {accuracy:.3f}\n")
    weights = explained.explain(unseen).abs().mean(dim=0)
    for index in weights.argsort(descending=True)[:5].tolist():
        sys.stdout.write(f"{data.feature_names[index]:24} {weights[index]:.3f}\n")


if __name__ == "__main__":
    main()
