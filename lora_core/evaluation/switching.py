"""How long it takes to switch from one task's adapter to another's in memory, next to loading a full model from disk.

The adapter is read from disk in every round, as are the weights of the full model, from files that the system has
cached. It is put over itself, which costs the same as another task's and leaves the model as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lora_core import device as devices
from lora_core.evaluation.latency_record import Switching
from lora_core.evaluation.latency_summary import Variant
from lora_core.methods import adapter_files, registry
from lora_core.models import model as models
from lora_core.models.tensors import read_tensors

if TYPE_CHECKING:
    from lora_core.evaluation.latency import TimedMethod

SECONDS = 1.0  # no new round starts after this
MAX_ROUNDS = 6
FULL = "full model"

Switch = Callable[[], object]


def time_switches(
    methods: Sequence[TimedMethod],
    base: Path,
    labels: Sequence[str],
    loaded: Mapping[Variant, nn.Module],
    device: torch.device,
) -> Switching | None:
    """Time every switch once per round, for about a second; None without an adapter, or without a full model on disk.

    The first round warms up: it is left out if there is another.

    `base` is the prepared model, `loaded` the models on the device, ready for inference.
    """
    folders = [m.weights for m in methods if m.settings.saves_full_weights] + [m.merged for m in methods if m.merged]
    switches: dict[Variant, Switch] = {}
    for method in methods:
        if method.settings.saves_full_weights:
            continue
        attached = loaded[method.name, "plain" if method.merged is None else "unmerged"]
        switches[method.name, "attach"] = _attach(method, attached)
        if method.merged is not None and adapter_files.layout(method.weights) != "peft":
            switches[method.name, "merge"] = Merge(method.weights, base, loaded[method.name, "merged"])
    if not switches or not folders:
        return None
    switches[FULL, "load"] = _load(folders[0], labels, device)
    rounds: dict[Variant, list[float]] = {key: [] for key in switches}
    start = time.monotonic()
    for _ in range(MAX_ROUNDS):
        for key, switch in switches.items():
            rounds[key].append(_seconds(switch, device))
        if time.monotonic() - start > SECONDS:
            break
    warm = {key: seconds[1:] or seconds for key, seconds in rounds.items()}
    return Switching(
        full_model_seconds=warm.pop((FULL, "load")),
        attach_seconds={method: seconds for (method, way), seconds in warm.items() if way == "attach"},
        merge_seconds={method: seconds for (method, way), seconds in warm.items() if way == "merge"},
    )


def _attach(method: TimedMethod, model: nn.Module) -> Switch:
    """Put an adapter and its head into a model that holds another one, unmerged."""
    return lambda: registry.reload(model, method.settings, method.weights)


class Merge:
    """Fold an adapter from `weights` into a model in which another one is merged, and put its head in place.

    What an adapter changes is kept in memory as it is in the prepared model `base`, in float32.
    """

    def __init__(self, weights: Path, base: Path, model: nn.Module) -> None:
        self._weights = weights
        self._is_low_rank = adapter_files.layout(weights) == "low_rank"
        self._parameters = model.state_dict(keep_vars=True)
        self._base: dict[str, torch.Tensor] = {}
        if self._is_low_rank:
            names = [f"{name}.weight" for name in adapter_files.read_adapter(weights, "pt").modules]
            stored = read_tensors(base / "model.safetensors", "pt", names)
            self._base = {n: stored[n].to(self._parameters[n].device, torch.float32) for n in names}

    @torch.no_grad()
    def __call__(self) -> None:
        """Switch."""
        if not self._is_low_rank:
            self._put(adapter_files.load_tensors(self._weights, "pt"))
            return
        adapter = adapter_files.read_adapter(self._weights, "pt")
        scale = adapter.config.alpha / adapter.config.rank
        for name in adapter.modules:
            weight, kept = self._parameters[f"{name}.weight"], self._base[f"{name}.weight"]
            a, b = (adapter.matrices[f"{name}.{matrix}"].to(kept) for matrix in ("lora_A", "lora_B"))
            if weight.dtype == kept.dtype:
                torch.addmm(kept, b, a, alpha=scale, out=weight)
            else:
                weight.copy_(torch.addmm(kept, b, a, alpha=scale))
        self._put(adapter.saved_modules)

    def _put(self, tensors: Mapping[str, Any]) -> None:
        for name, tensor in tensors.items():
            self._parameters[name].copy_(tensor)


def _load(folder: Path, labels: Sequence[str], device: torch.device) -> Switch:
    """Load a full model from disk as its users do."""
    from transformers import AutoModelForSequenceClassification

    def load() -> nn.Module:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, **models.head_config(labels)
        )
        return model.to(device)

    return load


def _seconds(switch: Switch, device: torch.device) -> float:
    devices.synchronize(device)
    start = time.perf_counter()
    switch()
    devices.synchronize(device)
    return time.perf_counter() - start
