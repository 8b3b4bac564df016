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
    """`(config, adapter, head)` of a folder, as `write` took them. Raises ValueError for what is no LoRA adapter."""
    from safetensors import safe_open

    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{folder / CONFIG}: peft_type is {config.get('peft_type')!r}, expected 'LORA'")
    adapter: dict[str, Any] = {}
    head: dict[str, Any] = {}
    with safe_open(folder / WEIGHTS, framework) as file:
        for key in file.keys():  # noqa: SIM118 (no mapping)
            name = key.removeprefix(PREFIX)
            if name.endswith((".lora_A.weight", ".lora_B.weight")):
                adapter[name.removesuffix(".weight")] = file.get_tensor(key)
            else:
                head[name] = file.get_tensor(key)
    return config, adapter, head
