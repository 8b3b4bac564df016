"""Fold an adapter into plain weights.

Plain LoRA and replaced parameters are arithmetic on safetensors files, without torch or transformers; for the rest
PEFT's own `merge_and_unload`.
"""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from lora_core.methods import adapter_files as adapter
from lora_core.models import model_card as cards
from lora_core.records import atomic_folder, read_checked, write_json

ADAPTERS_OWN = (adapter.CONFIG, adapter.WEIGHTS, cards.NAME)


def merge(base: Path, weights: Path, out: Path) -> None:
    """Write `out` as a plain transformers folder, the head beside the changed weights.

    merge.json says what changed. Raises ValueError where the adapter does not fit the base model.
    """
    record = None
    if (run := weights.parent / "run.json").exists():  # an adapter from elsewhere has none
        record = read_checked(run, *(f"{weights.name}/{name}" for name in (adapter.CONFIG, adapter.WEIGHTS)))
    config = adapter.read_config(weights)
    named = config.get("base_model_name_or_path")
    if isinstance(named, str) and base.name not in (Path(named).name, named.replace("/", "--")):
        raise ValueError(f"the adapter in {weights} was made for the base model {named!r}, not for {base.name!r}")
    before = load_file(base / "model.safetensors")
    way = _low_rank if adapter.low_rank(weights) else _by_peft if adapter.of_peft(weights) else _replaced
    after = way(base, weights, dict(before))
    changed = {
        name: {
            "largest_weight": float(np.abs(tensor).max()),
            "largest_change": float(np.abs(after[name] - tensor).max()),
        }
        for name, tensor in before.items()
        if not np.array_equal(tensor, after[name])
    }
    with atomic_folder(out) as folder:
        for file in weights.iterdir():
            if file.is_file() and file.name not in ADAPTERS_OWN and not file.name.startswith("."):
                shutil.copyfile(file, folder / file.name)
        if record:
            text = cards.card(record, "transformers", "The adapter is folded into the weights.")
            (folder / cards.NAME).write_text(text, encoding="utf-8")
        save_file(after, folder / "model.safetensors", {"format": "pt"})
        write_json(folder / "merge.json", {"changed": changed})


def _replaced(base: Path, weights: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The stored parameters in place of the base model's."""
    stored = adapter.load_tensors(weights, "numpy")
    parts = {name.split(".")[0] for name in tensors}
    for name, tensor in stored.items():
        if name.split(".")[0] in parts and (name not in tensors or tensor.shape != tensors[name].shape):
            raise ValueError(f"{weights} holds {name!r}, which the base model in {base} has not, or of another shape")
    return tensors | stored


def _low_rank(base: Path, weights: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """W + BA · alpha / rank (Section 3.1)."""
    config, low_rank, head = adapter.read(weights)
    if inside := sorted(set(head) & set(tensors)):
        raise ValueError(f"the adapter in {weights} would replace {inside[0]!r} of the base model")
    scale = config["lora_alpha"] / config["r"]
    for module in sorted({name.rpartition(".")[0] for name in low_rank}):
        a, b = low_rank.get(f"{module}.lora_A"), low_rank.get(f"{module}.lora_B")
        weight = tensors.get(f"{module}.weight")
        if a is None or b is None or weight is None or weight.shape != (b.shape[0], a.shape[1]):
            raise ValueError(f"the adapter's {module!r} does not fit the base model in {base}")
        delta = (b.astype(np.float32) @ a.astype(np.float32)) * np.float32(scale)
        tensors[f"{module}.weight"] = weight + delta
    return tensors | head


def _by_peft(base: Path, weights: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As PEFT folds it, in float32."""
    import torch
    from peft.utils import ModulesToSaveWrapper
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from lora_core.methods.peft_config import attach_saved_adapter

    try:
        told = AutoConfig.from_pretrained(weights, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{weights} has no config.json of transformers, which says what its head is") from error
    model = AutoModelForSequenceClassification.from_pretrained(
        base, config=told, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    adapted = attach_saved_adapter(model, weights)
    # PEFT itself unloads a head of one linear layer, and others with LoRA alone.
    for name, module in list(adapted.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            adapted.set_submodule(name, module.modules_to_save["default"])
    state = adapted.merge_and_unload().state_dict()
    return tensors | {name: tensor.detach().contiguous().numpy() for name, tensor in state.items()}
