"""Fold an adapter into plain weights: arithmetic on safetensors files, without torch or transformers."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from lora_core import adapter
from lora_core.records import read_checked, whole_folder


def merge(base: Path, weights: Path, out: Path) -> None:
    """Write `out` as a plain transformers folder: W + BA · alpha / rank (Section 3.1), the head beside it.

    merge.json says what changed. Raises ValueError where the adapter does not fit the base model.
    """
    if (run := weights.parent / "run.json").exists():  # an adapter from elsewhere has none
        read_checked(run, *(f"{weights.name}/{name}" for name in (adapter.CONFIG, adapter.WEIGHTS)))
    config, low_rank, head = adapter.read(weights)
    named = config.get("base_model_name_or_path")
    if isinstance(named, str) and base.name not in (Path(named).name, named.replace("/", "--")):
        raise ValueError(f"the adapter in {weights} was made for the base model {named!r}, not for {base.name!r}")
    tensors = load_file(base / "model.safetensors")
    if inside := sorted(set(head) & set(tensors)):
        raise ValueError(f"the adapter in {weights} would replace {inside[0]!r} of the base model")
    scale = config["lora_alpha"] / config["r"]
    changed = {}
    for module in sorted({name.rpartition(".")[0] for name in low_rank}):
        a, b = low_rank.get(f"{module}.lora_A"), low_rank.get(f"{module}.lora_B")
        weight = tensors.get(f"{module}.weight")
        if a is None or b is None or weight is None or weight.shape != (b.shape[0], a.shape[1]):
            raise ValueError(f"the adapter's {module!r} does not fit the base model in {base}")
        delta = (b.astype(np.float32) @ a.astype(np.float32)) * np.float32(scale)
        tensors[f"{module}.weight"] = weight + delta
        changed[module] = {"largest_weight": float(np.abs(weight).max()), "largest_change": float(np.abs(delta).max())}
    tensors |= head
    with whole_folder(out) as folder:
        for file in weights.iterdir():
            if file.is_file() and file.name not in (adapter.CONFIG, adapter.WEIGHTS) and not file.name.startswith("."):
                shutil.copyfile(file, folder / file.name)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        record = {"scale": scale, "modules": changed}
        (folder / "merge.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
