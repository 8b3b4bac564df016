"""Read the weights in a safetensors file: complete, in a floating-point type, and finite."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

Framework = Literal["pt", "numpy"]
Tensors = dict[str, Any]  # torch's or numpy's, by name

FLOATING_POINT = ("F64", "F32", "F16", "BF16")
UNQUANTIZED = "use the weights in float32, float16 or bfloat16"
INTEGERS = ("I64", "I32", "I16", "U64", "U32", "U16", "BOOL")  # the types of positions and the like, not of weights


def read_tensors(path: Path, framework: Framework, names: Collection[str] | None = None) -> Tensors:
    """Return the tensors of a file, or those of these `names`; for numpy, bfloat16, which it lacks, becomes float32.

    Raise ValueError if the file is not a complete safetensors file, is quantized, or holds a value that is not finite.
    """
    types = {name: kind for name, kind in tensor_types(path).items() if names is None or name in names}
    converted = framework == "numpy" and "BF16" in types.values()
    with _open(path, "pt" if converted else framework) as file:
        tensors = {name: file.get_tensor(name) for name in types}
    if converted:
        tensors = {name: (t.float() if types[name] == "BF16" else t).numpy() for name, t in tensors.items()}
    if name := first_not_finite(tensors):
        raise ValueError(f"{path}: {name!r} holds a value that is not finite (nan or inf); use other weights")
    return tensors


def tensor_types(path: Path) -> dict[str, str]:
    """Return the type of each tensor as the file's header names it, such as F32.

    Raise ValueError if the file is not a complete safetensors file or holds quantized weights.
    """
    with _open(path, "pt") as file:
        types = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    for name, dtype in types.items():
        is_weight = name.endswith(("weight", "bias"))
        if dtype not in FLOATING_POINT and (is_weight or dtype not in INTEGERS):
            raise ValueError(f"{path}: {name!r} is quantized ({dtype}); {UNQUANTIZED}")
    return types


def first_not_finite(tensors: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor, torch's or numpy's, that holds nan or inf; None if all are finite."""
    return next((name for name, tensor in tensors.items() if not _is_finite(tensor)), None)


def _is_finite(tensor: Any) -> bool:
    if hasattr(tensor, "isfinite"):
        # A finite sum has no nan or inf in it and takes a fraction of the time; one that is not may have overflowed.
        return math.isfinite(tensor.sum().item()) or bool(tensor.isfinite().all())
    import numpy as np

    return bool(np.isfinite(tensor).all())


@contextmanager
def _open(path: Path, framework: Framework) -> Iterator[Any]:
    """Open a safetensors file. Raise ValueError that names it if it is not complete."""
    from safetensors import SafetensorError, safe_open

    if path.exists() and not path.is_file():  # a named pipe would be read forever
        raise ValueError(f"{path} is not a regular file; put the safetensors file in its place")
    try:
        with safe_open(path, framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}); only complete safetensors files can be read") from error
