"""Fold an adapter into the base model's weights.

Plain LoRA and replaced parameters are arithmetic on safetensors files, without torch or transformers; everything else
is PEFT's own `merge_and_unload`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lora_core import job
from lora_core.atomic_files import atomic_folder
from lora_core.intact import check_copyable, check_model, check_weights, copy_files
from lora_core.layout import MERGE_RECORD
from lora_core.methods import adapter_files
from lora_core.methods.adapter_config import CONFIG, read_config
from lora_core.methods.merged_config import merged_config
from lora_core.models.tensors import first_not_finite, read_tensors
from lora_core.models.tokenizer import TOKENIZER_FILES
from lora_core.records import JsonObject, write_json

Tensors = dict[str, np.ndarray]
Configuration = Callable[[], JsonObject]
# The files of a weights folder that a merged folder needs too, and those that it has no use for.
COPIED = TOKENIZER_FILES
NOT_COPIED = ("config.json", CONFIG, adapter_files.WEIGHTS, "README.md")


def merge_adapter(base: Path, weights: Path, record: Path | None, out: Path, base_record: Path | None = None) -> None:
    """Write the base model with an adapter folded in, and its head, as a plain transformers folder.

    `record` is the run.json of the run that wrote `weights`, which has the files' digests; None for an adapter from
    elsewhere. `base_record` has those of the prepared model `base`. merge.json in the folder lists the changed weights.
    Raise ValueError if the adapter does not fit the base model, a file is not what its record says, or a merged weight
    is not finite.
    """
    if base_record is not None:
        check_model(base, base_record)
    check_weights(weights, record)
    check_copyable(weights, (*COPIED, *NOT_COPIED))
    for path in sorted(weights.iterdir()):
        if path.name not in (*COPIED, *NOT_COPIED) and not path.name.startswith("."):
            job.announce(f"{path} is left out of the merged model: it is not one of a model's files")
    trained_on = read_config(weights).get("base_model_name_or_path")
    if isinstance(trained_on, str) and base.name not in (Path(trained_on).name, trained_on.replace("/", "--")):
        raise ValueError(f"the adapter in {weights} was made for the base model {trained_on!r}, not for {base.name!r}")
    before = read_tensors(base / "model.safetensors", "numpy")
    configuration = partial(merged_config, base, weights, record)
    with np.errstate(over="ignore", invalid="ignore"):  # of a product, or a value that is too large for float32
        after = MERGE[adapter_files.layout(weights)](base, weights, dict(before), configuration)
    if name := first_not_finite(after):
        raise ValueError(
            f"{weights}: with this adapter the merged model's {name!r} is not finite: its values are too large for "
            "float32; use an adapter whose training did not diverge"
        )
    with atomic_folder(out) as folder:
        copy_files(weights, COPIED, folder)
        write_json(folder / "config.json", configuration())
        save_file(after, folder / "model.safetensors", {"format": "pt"})
        write_json(folder / MERGE_RECORD, {"changed": _changes(before, after)})


def _changes(before: Tensors, after: Tensors) -> dict[str, dict[str, float]]:
    """The largest weight and the largest change of every tensor of the base model that changed."""
    return {
        name: {
            "largest_weight": float(np.abs(tensor).max()),
            "largest_change": float(np.abs(after[name] - tensor).max()),
        }
        for name, tensor in before.items()
        if not np.array_equal(tensor, after[name])
    }


def _merge_low_rank(base: Path, weights: Path, tensors: Tensors, configuration: Configuration) -> Tensors:
    """W + B A · alpha / rank (Section 3.1)."""
    adapter = adapter_files.read_adapter(weights, "numpy")
    encoder = {name.split(".")[0] for name in adapter.modules}
    if replaced := [n for n in sorted(adapter.saved_modules) if n in tensors and n.split(".")[0] in encoder]:
        raise ValueError(f"the adapter in {weights} would replace {replaced[0]!r} of the base model")
    matrices = [name.removesuffix(".weight") for name, t in tensors.items() if t.ndim == 2 and name.endswith(".weight")]
    adapter.check_complete(matrices, weights)
    scale = adapter.config.alpha / adapter.config.rank
    for module in adapter.modules:
        a, b = adapter.matrices.get(f"{module}.lora_A"), adapter.matrices.get(f"{module}.lora_B")
        weight = tensors.get(f"{module}.weight")
        if a is None or b is None or weight is None or weight.shape != (b.shape[0], a.shape[1]):
            raise ValueError(f"the adapter's {module!r} does not fit the base model in {base}")
        delta = (b.astype(np.float32) @ a.astype(np.float32)) * np.float32(scale)
        tensors[f"{module}.weight"] = weight + delta
    return tensors | _as_float32(adapter.saved_modules)


def _merge_parameters(base: Path, weights: Path, tensors: Tensors, configuration: Configuration) -> Tensors:
    """The stored parameters in place of the base model's."""
    stored = adapter_files.load_tensors(weights, "numpy")
    parts = {name.split(".")[0] for name in tensors}
    for name, tensor in stored.items():
        if name.split(".")[0] in parts and (name not in tensors or tensor.shape != tensors[name].shape):
            raise ValueError(f"{weights} holds {name!r}, which the base model in {base} lacks or has in another shape")
    return tensors | _as_float32(stored)


def _as_float32(stored: Mapping[str, np.ndarray]) -> Tensors:
    return {name: tensor.astype(np.float32, copy=False) for name, tensor in stored.items()}


def _merge_by_peft(base: Path, weights: Path, tensors: Tensors, configuration: Configuration) -> Tensors:
    """The weights as PEFT merges them, in float32."""
    import torch
    from peft.utils import ModulesToSaveWrapper
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from lora_core.methods.peft_config import attach_saved_adapter

    config = AutoConfig.for_model(**configuration())
    model = AutoModelForSequenceClassification.from_pretrained(
        base, config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    adapted = attach_saved_adapter(model, weights)
    # PEFT itself puts a head back only if it is one linear layer or the method is LoRA.
    for name, module in list(adapted.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            adapted.set_submodule(name, module.modules_to_save["default"])
    state = adapted.merge_and_unload().state_dict()
    return tensors | {name: tensor.detach().contiguous().numpy() for name, tensor in state.items()}


# How to merge each layout of an adapter's files (`adapter_files.layout`).
MERGE: dict[str, Callable[[Path, Path, Tensors, Configuration], Tensors]] = {
    "low_rank": _merge_low_rank,
    "parameters": _merge_parameters,
    "peft": _merge_by_peft,
}
