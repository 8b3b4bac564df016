"""Low-rank adapters in PEFT's own on-disk layout, written and read without PEFT.

`adapter_config.json` and `adapter_model.safetensors` load with `PeftModel.from_pretrained`. Tensors are named
`base_model.model.{module}.lora_A.weight` (rank, in) and `.lora_B.weight` (out, rank); the head is a module to save.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_core.records import read_json, write_json

PREFIX = "base_model.model."
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
    from safetensors.torch import save_file

    tensors = {f"{PREFIX}{name}.weight": tensor for name, tensor in adapter.items()}
    tensors |= {f"{PREFIX}{name}": tensor for name, tensor in head.items()}
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
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


def read(folder: Path, framework: str = "numpy") -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """`(config, adapter, head)` of a folder, as `write` took them.

    The folder may come from anywhere: raises ValueError for what is no whole LoRA adapter, for shapes that do not fit
    its rank, and for tensors that are neither adapter nor a module to save.
    """
    from safetensors import SafetensorError, safe_open

    config = _config(folder / CONFIG)
    adapter: dict[str, Any] = {}
    head: dict[str, Any] = {}
    try:
        with safe_open(folder / WEIGHTS, framework) as file:
            for key in file.keys():  # noqa: SIM118 (no mapping)
                name = key.removeprefix(PREFIX)
                if name.endswith((".lora_A.weight", ".lora_B.weight")):
                    adapter[name.removesuffix(".weight")] = file.get_tensor(key)
                elif name.split(".")[0] in config["modules_to_save"]:
                    head[name] = file.get_tensor(key)
                else:
                    raise ValueError(f"{folder / WEIGHTS}: {key!r} is neither of LoRA nor in modules_to_save")
    except (SafetensorError, OSError, TypeError) as error:  # numpy knows no bfloat16
        raise ValueError(f"{folder / WEIGHTS} cannot be read ({error}); only whole safetensors files are") from error
    for name, tensor in adapter.items():
        side = 0 if name.endswith(".lora_A") else 1
        if tensor.ndim != 2 or tensor.shape[side] != config["r"]:
            raise ValueError(f"{folder / WEIGHTS}: {name!r} has the shape {tuple(tensor.shape)} at rank {config['r']}")
    return config, adapter, head


def _config(path: Path) -> dict[str, Any]:
    """adapter_config.json with what merging needs. Raises ValueError where it lacks it or holds something else."""
    try:
        config = read_json(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); an adapter folder has one") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        found = config.get("peft_type") if isinstance(config, dict) else config
        raise ValueError(f"{path}: peft_type is {found!r}, expected 'LORA'")
    rank, alpha, saved = config.get("r"), config.get("lora_alpha"), config.get("modules_to_save") or []
    number = isinstance(alpha, int | float) and abs(alpha) < 1e9
    if not isinstance(rank, int) or rank < 1 or not number:
        raise ValueError(f"{path}: r is {rank!r} and lora_alpha {alpha!r}; a whole number and a number are expected")
    for name in ("use_rslora", "use_dora", "fan_in_fan_out", "alpha_pattern", "rank_pattern", "lora_bias"):
        if config.get(name):
            raise ValueError(f"{path}: {name} is {config[name]!r}; only plain LoRA is merged, PEFT does more")
    if not isinstance(saved, list):
        raise ValueError(f"{path}: modules_to_save is {saved!r}, expected a list of names")
    return config | {"modules_to_save": saved}
