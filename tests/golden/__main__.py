"""Asks a server of the bundled models all recorded questions again, and writes what it answers.

Run `python -m tests.golden [NAME …]` after `make models`.
"""

import sys
import tempfile
from pathlib import Path

import grpc

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from adcaptum.zoo.demo import server
from tests.golden import exchange

BUILT = Path(__file__).parents[2] / "build" / "models"


def main() -> None:
    """Writes the exchanges."""
    with tempfile.TemporaryDirectory() as folder:
        for model in exchange.MODELS:
            (Path(folder) / model).symlink_to((BUILT / model).resolve())
        with server(Path(folder)) as addresses, grpc.insecure_channel(addresses.grpc) as channel:
            stub = ExplanationServiceStub(channel)
            for name in sys.argv[1:] or exchange.names():
                exchange.save(name, exchange.ask(exchange.load(name), stub))
                sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
