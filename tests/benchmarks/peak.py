"""Explains once in this process and prints what memory that took: see `memory`."""

from __future__ import annotations

import json
import sys

import torch

from adcaptum.engine import METHODS, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.benchmarks.high_water import high_water, reset
from tests.benchmarks.settings import SETTINGS
from tests.benchmarks.subjects import load_subject


def main() -> None:
    """Reads model, inputs, method, parameter, value and rows of a batch from the command line."""
    model, count, name, parameter, value, batch = sys.argv[1:]
    torch.set_num_threads(1)
    method = resolve(METHODS[name], {parameter: int(value)})
    view = load_subject(model).view(METHODS[name])
    mask = SETTINGS[model, 16].mask(name, view.model_inputs)
    # Whatever is loaded at first use is loaded now.
    explain(view.model, METHODS["saliency"](), view.explicand(1, None))
    reset()
    before = high_water()
    explain(view.model, method, view.explicand(int(count), mask), batch_rows=int(batch) or None)
    most = high_water()
    print(json.dumps({"before": before, "most": most}))


if __name__ == "__main__":
    main()
