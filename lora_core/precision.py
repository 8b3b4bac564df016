"""The precision of matrix products (`train.precision`): how torch is set to it, and that nothing else decides it."""

import os
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lora_core import job

if TYPE_CHECKING:
    import torch

# float32; float32 whose products have TF32's 10 bits on a GPU; bfloat16 and float16 by autocast over float32 weights.
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
ON_GPUS_ONLY = ("tf32", "fp16")  # a CPU has no TF32, and multiplies float16 more slowly than float32
# Each makes a library compute products of float32 in another way than torch asks for: cuBLAS and cuDNN, torch's own
# default, cuBLAS, and oneDNN.
VARIABLES = (
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
)
NEED_CAPABILITY = ("tf32", "bf16")
CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # instructions for products of bfloat16: of x86, and of Arm
FIRST_CAPABILITY = (8, 0)  # of the GPUs that have TF32 and bfloat16; float16 is for those before
# 12 bits after the point: float32 keeps it in a product with 1, TF32 and bfloat16 round it to 1.
PROBE = 1 + 2**-12
PROBE_SIZE = 256


def ignore_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables that override the precision, and say so; before torch is imported, which reads them."""
    for name in VARIABLES:
        if environment.pop(name, None) is not None:
            job.announce(f"{name} is ignored: train.precision decides the precision")


def check_available(precision: str, on_gpu: bool) -> None:
    """Raise ValueError if a job on a CPU would need a precision that only GPUs have."""
    if precision in ON_GPUS_ONLY and not on_gpu:
        raise ValueError(
            f"train.precision is {precision!r}, which only GPUs have; set 'fp32' or 'bf16' to run on a CPU"
        )


def check_device(precision: str, device: "torch.device") -> None:
    """Raise ValueError if a GPU lacks the precision."""
    if device.type != "cuda" or precision not in NEED_CAPABILITY:
        return
    import torch

    check_gpus(precision, [(torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))])


def check_gpus(precision: str, gpus: Sequence[tuple[str, tuple[int, int]]]) -> None:
    """Raise ValueError if one of some GPUs, each with its name and compute capability, lacks the precision."""
    lacking = [gpu for gpu in gpus if gpu[1] < FIRST_CAPABILITY]
    if lacking and precision in NEED_CAPABILITY:
        name, capability = lacking[0]
        others = ", or name the other GPUs alone in CUDA_VISIBLE_DEVICES" if len(lacking) < len(gpus) else ""
        raise ValueError(
            f"train.precision is {precision!r}, which {name} lacks (its compute capability is "
            f"{'.'.join(map(str, capability))}, {'.'.join(map(str, FIRST_CAPABILITY))} is needed); set 'fp32' or "
            f"'fp16'{others}"
        )


def lower(precision: str, device: "torch.device") -> Precision | None:
    """Return a lower precision in which the device multiplies faster; None if it has none, or this one is low already.

    On a CPU it is bfloat16 where there are instructions for it: without them, it is slower than float32.
    """
    import torch

    if autocast_type(precision) is not None:
        return None
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= FIRST_CAPABILITY else "fp16"
    instructions = torch.cpu.get_capabilities()
    return "bf16" if any(instructions.get(name) for name in CPU_BF16) else None


def is_scaled(precision: str) -> bool:
    """Return whether the loss is scaled in training, because small gradients would be rounded to zero."""
    return precision == "fp16"


def autocast_type(precision: str) -> "torch.dtype | None":
    """Return the type that autocast computes in; None without autocast."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def allow_tf32(allowed: bool) -> None:
    """Set torch to compute products of float32 in TF32, where the device has it, or in float32 alone."""
    from torch import backends, set_float32_matmul_precision

    cudnn: Any = backends.cudnn
    onednn: Any = backends.mkldnn
    set_float32_matmul_precision("high" if allowed else "highest")
    cudnn.allow_tf32 = allowed
    # The two lines above do not undo what was set by these newer names.
    for operation in (cudnn.conv, cudnn.rnn, onednn.conv, onednn.rnn):
        operation.fp32_precision = "tf32" if allowed else "ieee"


def check_products(precision: str, device: "torch.device") -> None:
    """Raise ValueError if the device rounds products of float32, although the precision is not TF32."""
    if precision == "tf32":
        return
    import torch

    factors = torch.full((PROBE_SIZE, PROBE_SIZE), PROBE, device=device)
    if not torch.equal(factors @ torch.eye(PROBE_SIZE, device=device), factors):
        raise ValueError(
            f"train.precision is {precision!r}, but products of float32 are rounded here, to TF32 or bfloat16; unset "
            f"what asks for it, such as {VARIABLES[0]}, before Python starts"
        )
