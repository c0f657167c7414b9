"""Measures of attributions beside Quantus: `python -m tests.benchmarks.measures`.

Quantus is no dependency, not even of the tests: run this with the interpreter of an environment
that has it, and this repository on its path. Without it only our times are printed.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adcaptum import metrics
from adcaptum.attr import Saliency

EXAMPLES, SIDE, CLASSES, REPEATS = 64, 28, 10, 3
STEP = 28  # features of a step: 28 steps of 784 pixels
SAMPLES = 10


def model() -> nn.Sequential:
    """A small convolutional network for pictures of digits."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, CLASSES),
    ).eval()  # fmt: skip


def explained(of: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Saliency, the cheapest explanation: what is left is the measure's own time."""
    found = Saliency(of).attribute(images, target=target)
    assert isinstance(found, Tensor)
    return found


Calls = dict[str, Callable[[], Any]]


def ours(of: nn.Module, x: Tensor, a: Tensor, y: Tensor) -> Calls:
    """Our measures; each returns a tensor with a value for each example."""
    steps = SIDE * SIDE // STEP
    return {
        "pixel flipping": lambda: metrics.deletion(of, x, a, y, steps=steps).values,
        "monotonicity": lambda: metrics.monotonicity(of, x, a, y, steps=steps).values,
        "faithfulness correlation": lambda: (
            metrics.faithfulness_correlation(of, x, a, y, subset_size=100, n_samples=100).values
        ),
        "faithfulness estimate": lambda: metrics.faithfulness_estimate(of, x, a, y).values,
        "max sensitivity": lambda: metrics.sensitivity_max(
            lambda t, target: explained(of, t if isinstance(t, Tensor) else t[0], target),
            x,
            perturb_radius=0.2,
            n_perturb_samples=SAMPLES,
            target=y,
        ),
        "ROAD": lambda: metrics.road(of, x, a, y).values,
        "MPRT": lambda: metrics.mprt(of, lambda m, t: explained(m, t, y), x).values,
        "sparseness": lambda: metrics.sparseness(a).values,
        "complexity": lambda: metrics.complexity(a).values,
    }


def quantus_calls(of: nn.Module, x: Tensor, a: Tensor, y: Tensor) -> Calls:
    """The same of Quantus, on batches of all examples."""
    # Quantus imports libraries of other explanations where they are found.
    found = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: (
        None if name in {"zennit", "tensorflow"} else found(name, *rest)
    )
    import quantus

    importlib.util.find_spec = found
    # Quantus integrates by a function that NumPy 2 has under another name.
    vars(np).setdefault("trapz", np.trapezoid)
    plain: dict[str, Any] = {
        "abs": True,
        "normalise": False,
        "disable_warnings": True,
        "display_progressbar": False,
    }
    black = {"perturb_baseline": "black"}

    def explain(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
        t = torch.as_tensor(inputs, dtype=torch.float32)
        return explained(model, t, torch.as_tensor(targets)).numpy()

    made = {
        "pixel flipping": quantus.PixelFlipping(
            features_in_step=STEP, return_auc_per_sample=True, **black, **plain
        ),
        "monotonicity": quantus.Monotonicity(features_in_step=STEP, **black, **plain),
        "faithfulness correlation": quantus.FaithfulnessCorrelation(
            nr_runs=100, subset_size=100, return_aggregate=False, **black, **plain
        ),
        "faithfulness estimate": quantus.FaithfulnessEstimate(features_in_step=1, **black, **plain),
        "max sensitivity": quantus.MaxSensitivity(nr_samples=SAMPLES, lower_bound=0.2, **plain),
        "ROAD": quantus.ROAD(percentages=list(range(10, 100, 10)), **plain),
        "MPRT": quantus.MPRT(layer_order="top_down", **plain),
        "sparseness": quantus.Sparseness(**plain),
        "complexity": quantus.Complexity(**plain),
    }
    inputs, targets, values = x.numpy(), y.numpy(), a.numpy()

    def call(measure: Any) -> Callable[[], Any]:
        return lambda: measure(
            model=of,
            x_batch=inputs.copy(),
            y_batch=targets.copy(),
            a_batch=values.copy(),
            explain_func=explain,
            batch_size=EXAMPLES,
            device="cpu",
        )

    return {name: call(measure) for name, measure in made.items()}


def in_turns(*calls: Callable[[], Any]) -> list[tuple[float, Any]]:
    """The least time of each of some calls that take turns, and its answer."""
    answers = [call() for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS):
        for taken, call in zip(times, calls, strict=True):
            begin = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begin)
    return [(min(taken), answer) for taken, answer in zip(times, answers, strict=True)]


def main() -> int:
    """Print a table."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    of, x = model(), torch.rand(EXAMPLES, 1, SIDE, SIDE)
    y = of(x).argmax(1)
    a = explained(of, x, y)
    mine = ours(of, x, a, y)
    has_quantus = importlib.util.find_spec("quantus") is not None
    theirs = quantus_calls(of, x, a, y) if has_quantus else {}
    sys.stdout.write(f"{EXAMPLES} images of {SIDE} x {SIDE}, saliency, one thread\n\n")
    sys.stdout.write(
        "| measure | seconds | Quantus | times | mean | Quantus |\n|---|---|---|---|---|---|\n"
    )
    for name, call in mine.items():
        pair = [call, theirs[name]] if name in theirs else [call]
        try:
            (own, values), *other = in_turns(*pair)
        except AttributeError as error:  # Quantus calls what NumPy no longer has
            (own, values), *other = in_turns(call)
            sys.stdout.write(f"{name}: {error}\n")
        row = f"| {name} | {own:.4f} |"
        for taken, scores in other:
            row += f" {taken:.3f} | {taken / own:.1f} | {float(values.mean()):.4f} |"
            row += f" {_mean(scores):.4f} |"
        sys.stdout.write(row + ("" if other else f" | | {float(values.mean()):.4f} | |") + "\n")
        sys.stdout.flush()
    return 0


def _mean(scores: Any) -> float:
    """The mean of whatever a measure of Quantus returns."""
    if isinstance(scores, dict):
        return _mean(list(scores.values())[-1])
    return float(np.nanmean(np.asarray(scores, dtype=float)))


if __name__ == "__main__":
    sys.exit(main())
