"""What one run is, resolved: its method's settings, its hyperparameters, and how it is measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from lora_core.methods.registry import settings_from_params

if TYPE_CHECKING:
    from lora_core.methods.settings import MethodSettings

Precision = Literal["fp32", "bf16"]
Batching = Literal["random", "length_grouped"]
