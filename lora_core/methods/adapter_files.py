"""Low-rank adapters in PEFT's own on-disk layout, written and read without PEFT.

`adapter_config.json` and `adapter_model.safetensors` load with `PeftModel.from_pretrained`. Tensors are named
`base_model.model.{module}.lora_A.weight` (rank, in) and `.lora_B.weight` (out, rank); the head is a module to save.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.models.model import head_parameters
from lora_core.records import read_json, write_json

if TYPE_CHECKING:
    from torch import nn

    from lora_core.methods.settings import LowRankSettings

PREFIX = "base_model.model."
# What a configuration of PEFT may say and still mean W + BA · alpha / rank, beside what `write` writes.
HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "modules_to_save",
    "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules", "task_type",
}  # fmt: skip
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write(
    folder: Path,
    adapter: Mapping[str, Any],
    head: Mapping[str, Any],
    *,
    rank: int,
    alpha: float,
    targets: list[str],
    base_model: str,
) -> None:
    """Save torch tensors: `adapter` holds "{module}.lora_A" and ".lora_B", `head` the head's parameters by name."""
    tensors = {f"{PREFIX}{name}.weight": tensor for name, tensor in adapter.items()}
    tensors |= {f"{PREFIX}{name}": tensor for name, tensor in head.items()}
    save_tensors(folder, tensors)
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "modules_to_save": sorted({name.split(".")[0] for name in head}),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }
    write_json(folder / CONFIG, config)


def save_tensors(folder: Path, tensors: Mapping[str, Any]) -> None:
    """Write an adapter's torch tensors."""
    from safetensors.torch import save_file

    # Copies, for what a method shares between layers is one storage, which the format refuses.
    stored = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    save_file(stored, folder / WEIGHTS, {"format": "pt"})


def load_tensors(folder: Path, framework: str) -> dict[str, Any]:
    """An adapter's tensors, for "pt" or "numpy". Raises ValueError for what is no whole safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework) as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, TypeError) as error:  # numpy knows no bfloat16
        raise ValueError(f"{folder / WEIGHTS} cannot be read ({error}); only whole safetensors files are") from error


def write_trained(folder: Path, kind: str, model: Any, base_model: str) -> None:
    """Save what a model trains under its own names, for methods that PEFT has not; `kind` stands for PEFT's type."""
    tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
    save_tensors(folder, tensors)
    write_json(folder / CONFIG, {"peft_type": kind, "base_model_name_or_path": base_model})


def read(folder: Path, framework: str = "numpy") -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """`(config, adapter, head)` of a folder, as `write` took them.

    The folder may come from anywhere: raises ValueError for what is no whole LoRA adapter, for shapes that do not fit
    its rank, and for tensors that are neither adapter nor a module to save.
    """
    config = _config(folder)
    adapter: dict[str, Any] = {}
    head: dict[str, Any] = {}
    for key, tensor in load_tensors(folder, framework).items():
        name = key.removeprefix(PREFIX)
        if _of_lora(name):
            adapter[name.removesuffix(".weight")] = tensor
        elif name.split(".")[0] in config["modules_to_save"]:
            head[name] = tensor
        else:
            raise ValueError(f"{folder / WEIGHTS}: {key!r} is neither of LoRA nor in modules_to_save")
    for name, tensor in adapter.items():
        side = 0 if name.endswith(".lora_A") else 1
        if tensor.ndim != 2 or tensor.shape[side] != config["r"]:
            raise ValueError(f"{folder / WEIGHTS}: {name!r} has the shape {tuple(tensor.shape)} at rank {config['r']}")
    return config, adapter, head


def read_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json. Raises ValueError where there is none, or one that names no type."""
    path = folder / CONFIG
    try:
        config = read_json(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); an adapter folder has one") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ValueError(f"{path}: peft_type is missing; an adapter's configuration names it")
    return config


def plain(config: dict[str, Any]) -> bool:
    """Whether a configuration is of LoRA as `write` writes it; what else PEFT can do is read by PEFT itself.

    An adapter that started inside the base weights counts on weights without that start, which PEFT works out again.
    """
    beyond = {key for key, value in config.items() if value and (key, value) != ("bias", "none")} - HARMLESS
    outside = config.get("init_lora_weights", True) in (True, False, "gaussian", "orthogonal", "eva")
    return config["peft_type"] == "LORA" and outside and not beyond


def low_rank(folder: Path) -> bool:
    """Whether a folder holds what `read` reads: `plain`, and nothing trained beside LoRA's matrices and the head."""
    if not plain(read_config(folder)):
        return False
    saved = _config(folder)["modules_to_save"]
    names = (name.removeprefix(PREFIX) for name in load_tensors(folder, "numpy"))
    return all(_of_lora(name) or name.split(".")[0] in saved for name in names)


def of_peft(folder: Path) -> bool:
    """Whether a folder's tensors are named as PEFT names them, and not as `write_trained` does."""
    return any(name.startswith(PREFIX) for name in load_tensors(folder, "numpy"))


def _of_lora(name: str) -> bool:
    return name.endswith((".lora_A.weight", ".lora_B.weight"))


def _config(folder: Path) -> dict[str, Any]:
    """`read_config`, with what merging needs. Raises ValueError where it lacks it or holds something else."""
    config, path = read_config(folder), folder / CONFIG
    rank, alpha, saved = config.get("r"), config.get("lora_alpha"), config.get("modules_to_save") or []
    if not plain(config):
        raise ValueError(f"{path}: this is no plain LoRA")
    number = isinstance(alpha, int | float) and abs(alpha) < 1e9
    if not isinstance(rank, int) or rank < 1 or not number:
        raise ValueError(f"{path}: r is {rank!r} and lora_alpha {alpha!r}; a whole number and a number are expected")
    if not isinstance(saved, list):
        raise ValueError(f"{path}: modules_to_save is {saved!r}, expected a list of names")
    return config | {"modules_to_save": saved}


def save_low_rank(model: "nn.Module", settings: "LowRankSettings", folder: Path, base_model: str) -> None:
    """Write the matrices A and B of a model's layers, and its head."""
    rank, alpha = settings.scale_settings()
    state = {name: p for name, p in model.named_parameters() if name.endswith((".lora_A", ".lora_B"))}
    head = dict(head_parameters(model))
    write(folder, state, head, rank=rank, alpha=alpha, targets=list(settings.targets), base_model=base_model)


def read_parameters(folder: Path) -> dict[str, Any]:
    """Return the saved matrices and head as torch tensors under the model's own parameter names.

    Raise ValueError if the folder holds no plain LoRA adapter.
    """
    _, low_rank, head = read(folder, "pt")
    return low_rank | head
