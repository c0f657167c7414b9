"""Explains once in this process and prints what memory that took: see `memory`."""

from __future__ import annotations

import json
import resource
import sys

import psutil
import torch

from adcaptum.engine import METHODS, explain
from adcaptum.engine.parameters import resolve
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
    before = psutil.Process().memory_info().rss / 2**20
    explain(view.model, method, view.explicand(int(count), mask), batch_rows=int(batch) or None)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"before": before, "most": most}))


if __name__ == "__main__":
    main()
