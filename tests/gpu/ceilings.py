"""Versions, and the most that the device does: matrix products and copies."""

from __future__ import annotations

import platform

import torch

from tests.gpu.subjects import DEVICE, ON_GPU, tell, timed


def main() -> None:
    """Prints them."""
    tell(
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        device=torch.cuda.get_device_name() if ON_GPU else platform.processor() or "cpu",
        tf32_matmul=torch.backends.cuda.matmul.allow_tf32,
        tf32_cudnn=torch.backends.cudnn.allow_tf32,
    )
    side = 8192 if ON_GPU else 512
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        if tf32 and not ON_GPU:
            continue
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(side, side, device=DEVICE).to(dtype) for _ in range(2))
        seconds = timed(lambda a=a, b=b: a @ b, most=20)  # type: ignore[misc]
        tell(matmul=name, tflops=round(2 * side**3 / seconds / 1e12, 1))
    source = torch.empty((1 << 30) if ON_GPU else (1 << 24), dtype=torch.float32, device=DEVICE)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), most=20)
    tell(copy_gb_per_second=round(2 * source.nbytes / seconds / 1e9))


if __name__ == "__main__":
    main()
