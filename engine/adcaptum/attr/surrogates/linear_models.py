"""Interpretable models that Lime fits to the outputs at perturbed inputs.

An object is one if it has `fit`, which takes a DataLoader of (interpretable inputs, outputs,
weights), and `representation`, which returns the coefficients. scikit-learn is imported by the
first fit of one of its models.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from adcaptum.engine.methods.surrogates.linear_surrogate import fit
from adcaptum.engine.vocabulary.flow import computed


class Model(Protocol):
    """A model that Lime can fit."""

    def fit(self, train_data: DataLoader[Any], **kwargs: Any) -> object:
        """Fits anew, forgetting earlier fits.

        Args:
            train_data: Batches of interpretable inputs (samples, features), outputs (samples,) and
                weights (samples,), all float32.
            **kwargs: Further arguments of the model.
        """
        ...

    def representation(self) -> Tensor:
        """Returns the coefficients, (1, features)."""
        ...


class LinearModel:
    """The base of linear models."""

    def __init__(self) -> None:
        self._weights: Tensor | None = None
        self._bias: Tensor | None = None

    def representation(self) -> Tensor:
        """Returns the coefficients without the intercept, (outputs, features)."""
        if self._weights is None:
            raise RuntimeError("the model is not fitted yet")
        return self._weights

    def bias(self) -> Tensor | None:
        """Returns the intercept, (outputs,), or None."""
        return self._bias

    def __call__(self, x: Tensor) -> Tensor:
        """Predicts (samples, outputs)."""
        return nn.functional.linear(x, self.representation(), self._bias)

    def _became(self, weights: Tensor, bias: Tensor | None) -> None:
        self._weights = torch.atleast_2d(weights.detach())
        self._bias = None if bias is None else torch.atleast_1d(bias.detach())


class PenalisedRegression(LinearModel):
    """The engine's surrogate, with a penalty relative to the spread of the outputs.

    Attributes:
        kind: The penalty.
        alpha: The penalty's weight; see `adcaptum.engine.methods.surrogates.linear_surrogate`.
    """

    def __init__(self, kind: Literal["lasso", "ridge"] = "lasso", alpha: float = 0.001) -> None:
        super().__init__()
        self.kind = kind
        self.alpha = alpha

    def fit(self, train_data: DataLoader[Any], **_kwargs: object) -> None:
        """Solves for the coefficients."""
        x, y, weights = (t.cpu().double() for t in _whole(train_data))
        found = computed(fit(self.kind, self.alpha, x, weights[None], y[None, None]))
        share = weights / weights.sum()
        bias = share @ (y - x @ found.values[0])
        self._became(found.values.float(), bias.float())


class SkLearnLinearModel(LinearModel):
    """A linear model of scikit-learn.

    Attributes:
        sklearn_module: Its name under `sklearn`, such as "linear_model.Lasso".
        construct_kwargs: The arguments of its constructor.
    """

    def __init__(self, sklearn_module: str, **kwargs: Any) -> None:
        super().__init__()
        self.sklearn_module = sklearn_module
        self.construct_kwargs = kwargs

    def fit(self, train_data: DataLoader[Any], **kwargs: Any) -> dict[str, float]:
        """Fits; further arguments go to scikit-learn's `fit`.

        Raises:
            ImportError: If scikit-learn is not installed.
        """
        x, y, *weights = (t.cpu().numpy() for t in _whole(train_data))
        model = self._kind()(**self.construct_kwargs)
        if weights:
            kwargs["sample_weight"] = weights[0]
        model.fit(x, y, **kwargs)
        bias = torch.as_tensor(model.intercept_, dtype=torch.float32)
        self._became(torch.as_tensor(model.coef_, dtype=torch.float32), bias)
        return {"score": float(model.score(x, y))} if hasattr(model, "score") else {}

    def _kind(self) -> Any:
        module, _, name = f"sklearn.{self.sklearn_module}".rpartition(".")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{type(self).__name__} needs scikit-learn (pip install scikit-learn); without an "
                "interpretable_model Lime fits its own lasso"
            ) from error


class SkLearnLasso(SkLearnLinearModel):
    """scikit-learn's Lasso; its alpha is absolute, in units of the outputs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.Lasso", **kwargs)


class SkLearnRidge(SkLearnLinearModel):
    """scikit-learn's Ridge."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.Ridge", **kwargs)


class SkLearnLinearRegression(SkLearnLinearModel):
    """scikit-learn's LinearRegression."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("linear_model.LinearRegression", **kwargs)


class SGDLinearRegression(LinearModel):
    """A linear regression by stochastic gradient descent, for data that do not fit into memory.

    Attributes:
        norm: To which power the penalty takes the coefficients; None: no penalty.
    """

    norm: int | None = None

    def fit(
        self,
        train_data: DataLoader[Any],
        *,
        max_epoch: int = 100,
        initial_lr: float = 0.01,
        alpha: float = 1.0,
        patience: int = 10,
        threshold: float = 1e-4,
    ) -> dict[str, float]:
        """Minimises half of the weighted mean squared error, plus the penalty.

        Args:
            train_data: Batches of inputs, outputs and, if there are any, weights.
            max_epoch: The most passes through the data.
            initial_lr: The step, halved whenever the loss has not fallen for some epochs.
            alpha: The weight of the penalty.
            patience: After how many epochs without a fall to stop.
            threshold: The least decrease of the loss that counts.

        Returns:
            The last epoch's loss.
        """
        x, *_ = next(iter(train_data))
        with torch.random.fork_rng([]):
            linear = nn.Linear(x.shape[1], 1).to(x)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        steps = torch.optim.SGD(linear.parameters(), initial_lr)
        rate = torch.optim.lr_scheduler.ReduceLROnPlateau(steps, factor=0.5, patience=patience // 2)
        best, since, loss = float("inf"), 0, float("inf")
        with torch.enable_grad():
            for _ in range(max_epoch):
                loss = sum(self._step(linear, steps, batch, alpha) for batch in train_data)
                rate.step(loss)
                since = 0 if loss < best - threshold else since + 1
                best = min(best, loss)
                if since >= patience:
                    break
        self._became(linear.weight, linear.bias)
        return {"train_loss": loss}

    def _step(
        self, linear: nn.Linear, steps: torch.optim.Optimizer, batch: Any, alpha: float
    ) -> float:
        x, y, *weights = batch
        share = weights[0] / weights[0].sum() if weights else torch.full_like(y, 1 / len(y))
        loss = (share * (linear(x)[:, 0] - y).square()).sum() / 2
        if self.norm is not None:
            loss = loss + alpha * linear.weight.norm(p=self.norm)
        steps.zero_grad()
        loss.backward()
        steps.step()
        return float(loss.detach())


class SGDLasso(SGDLinearRegression):
    """SGD regression with a penalty on the coefficients' magnitudes."""

    norm = 1


class SGDRidge(SGDLinearRegression):
    """SGD regression with a penalty on the coefficients' Euclidean norm."""

    norm = 2


def _whole(train_data: DataLoader[Any]) -> tuple[Tensor, ...]:
    """Joins all batches."""
    return tuple(map(torch.cat, zip(*train_data, strict=True)))
