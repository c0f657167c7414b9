"""The messages of the Open Inference Protocol: the text and what is built of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from adcaptum.service.protocols.oip.servicer import UNIMPLEMENTED
from adcaptum.service.protocols.oip.wire import messages

FOLDER = Path(messages.__file__).parent


def test_the_descriptors_are_those_of_the_text(tmp_path: Path) -> None:
    built = tmp_path / "built.binpb"
    buf = Path(sys.executable).parent / "buf"
    options = ["--as-file-descriptor-set", "--exclude-source-info", "--output", str(built)]
    subprocess.run([buf, "build", "inference.proto", *options], cwd=FOLDER, check=True)
    committed = (FOLDER / "inference.binpb").read_bytes()
    kept, new = (
        descriptor_pb2.FileDescriptorSet.FromString(raw) for raw in (committed, built.read_bytes())
    )
    assert kept == new, "run `make proto`"


def test_the_common_pool_has_none_of_them() -> None:
    """Another package of the same program may have them there."""
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")


def test_the_methods_that_are_lacking_are_not_described() -> None:
    described = {each.name for each in messages.POOL.FindServiceByName(messages.SERVICE).methods}
    assert not described & UNIMPLEMENTED.keys()
