"""grpcurl by way of `buf curl`, as far as the pages use it, for machines without grpcurl.

`grpcurl -plaintext [-d JSON] ADDRESS list | describe SERVICE | SERVICE/METHOD`
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def translated(words: Sequence[str]) -> list[str]:
    """Returns the words of `buf curl` that do what those of `grpcurl` say."""
    left = list(words)
    command = ["curl", "--protocol", "grpc"]
    if "-plaintext" in left:
        left.remove("-plaintext")
        command.append("--http2-prior-knowledge")
    if "-d" in left:
        place = left.index("-d")
        data = left[place + 1]
        command += ["-d", "@-" if data == "@" else data]
        del left[place : place + 2]
    address, verb, *_ = left
    if verb == "list":
        return [*command, "--list-services", f"http://{address}"]
    if verb == "describe":
        return [*command, "--list-methods", f"http://{address}"]
    return [*command, f"http://{address}/{verb}"]


if __name__ == "__main__":
    buf = Path(sys.executable).parent / "buf"
    sys.exit(subprocess.run([buf, *translated(sys.argv[1:])], check=False).returncode)
