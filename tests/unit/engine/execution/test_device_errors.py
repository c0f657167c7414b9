"""Errors of devices: lack of memory, the end of the device, and all others."""

from __future__ import annotations

import pytest
import torch

from adcaptum.engine.execution.devices.device_errors import is_lasting, is_out_of_memory
from adcaptum.engine.execution.evaluator import raised_by_model

OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
]

LASTING = [
    RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: misaligned address"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("HIP error: device-side assert triggered"),
]

OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    RuntimeError("CUDA error: invalid configuration argument"),
    RuntimeError("the cache of this model is out of memory"),
    RuntimeError("this model saw an illegal memory access"),
    ValueError("CUDA out of memory"),
    IndexError("index out of range in self"),
    KeyboardInterrupt(),
]


def accelerator_error(text: str, code: int | None = None) -> RuntimeError:
    kind = getattr(torch, "AcceleratorError", None)
    if kind is None:
        pytest.skip("this version of PyTorch has no AcceleratorError")
    error: RuntimeError = kind(text)
    if code is not None:
        error.error_code = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("error", OF_MEMORY, ids=str)
def test_lack_of_memory_has_many_names(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_lasting(error)


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_an_error_that_lasts_is_no_lack_of_memory(error: Exception) -> None:
    assert is_lasting(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_are_neither(error: BaseException) -> None:
    assert not is_lasting(error)
    assert not is_out_of_memory(error)


def test_errors_of_accelerators_are_told_apart_by_their_number() -> None:
    assert is_out_of_memory(accelerator_error("CUDA error", 2))
    assert is_lasting(accelerator_error("CUDA error", 710))
    neither = accelerator_error("CUDA error: an illegal memory access was encountered", 9)
    assert not is_lasting(neither)
    assert not is_out_of_memory(neither)


def test_and_by_their_text_where_they_have_none() -> None:
    assert is_out_of_memory(accelerator_error("CUDA error: out of memory"))
    assert is_lasting(accelerator_error("CUDA error: device-side assert triggered"))


@pytest.mark.parametrize("error", [*OF_MEMORY[2:4], LASTING[0]], ids=str)
def test_neither_counts_as_an_error_of_the_model(error: Exception) -> None:
    assert not raised_by_model(error)
