"""An id beyond the embedding: the caller gets an error, and the device goes on."""

from __future__ import annotations

import sys

import torch

from adcaptum.engine import METHODS, Explicand, Site, explain
from tests.gpu.subjects import DEVICE, networks, rows_of, tell


def main() -> int:
    """Prints the error, and whether a good request after it is answered."""
    network, shape = networks()["encoder"]
    network.to(DEVICE)
    good = rows_of(shape, 2).to(DEVICE)
    bad = good.clone()
    bad[0, 3] = 10_000
    method = METHODS["saliency"]()
    try:
        explain(network, method, Explicand.of(bad, target=0, at=Site("embedding")))
    except Exception as error:  # noqa: BLE001 - which one is what is told
        tell(error=type(error).__name__, text=str(error)[:200])
    else:
        tell(error=None)
    try:
        answer = explain(network, method, Explicand.of(good, target=0, at=Site("embedding")))
        finite = bool(torch.isfinite(answer.values[0]).all())
    except Exception as error:  # noqa: BLE001 - a poisoned device is a result
        tell(afterwards=repr(error)[:200])
        return 1
    tell(afterwards="answered", finite=finite)
    return not finite


if __name__ == "__main__":
    sys.exit(main())
