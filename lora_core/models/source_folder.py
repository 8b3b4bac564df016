"""A model's folder as it comes from elsewhere: its parts are checked before it is opened, and its weights afterwards.

Nothing is unpickled, no remote code runs, and only regular files are opened.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lora_core.models.model import check_encoder
from lora_core.models.tensors import UNQUANTIZED, tensor_types
from lora_core.models.tokenizer import check_tokenizer_files
from lora_core.records import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHARDS = f"{WEIGHTS}.index.json"  # names the files of weights that are stored in several
ADAPTER = "adapter_config.json"  # in whose presence transformers loads the model that it names


def check_parts(folder: Path) -> None:
    """Raise ValueError if a folder lacks its configuration, its weights, a shard of them, or a tokenizer.

    It is fast enough for every call of Snakemake: nothing but the list of shards is read.
    """
    for path in folder.iterdir():
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError(f"{str(path)!r} is not a regular file; remove it")
    if (folder / ADAPTER).exists():
        raise ValueError(f"{str(folder)!r} has an {ADAPTER}: merge the adapter into its base model first")
    for name in (CONFIG, *weight_files(folder)):
        if not (folder / name).is_file():
            raise ValueError(f"{str(folder)!r} has no {name}; only safetensors weights are read")
    check_tokenizer_files(folder)


def weight_files(folder: Path) -> list[str]:
    """Return the names of the files of a folder that hold the weights.

    Raise ValueError if the list of shards is damaged or names a file of another folder or kind.
    """
    index = folder / SHARDS
    if (folder / WEIGHTS).exists() or not index.is_file():
        return [WEIGHTS]
    content = read_json(index)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise ValueError(f"{str(index)!r} is damaged: its weight_map does not name the file of each tensor")
    names = sorted(set(shards.values()))
    for name in names:
        if "/" in name or "\\" in name:
            raise ValueError(f"{str(index)!r} names {name!r}, which is not in this folder")
        if not name.endswith(".safetensors"):
            raise ValueError(f"{str(index)!r} names {name!r}; only safetensors weights are read")
    return names


def check_config(folder: Path) -> None:
    """Raise ValueError if transformers cannot read a folder's config.json, or the model is quantized."""
    from transformers import AutoConfig

    with _name_unreadable_model(folder):
        AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if "quantization_config" in read_json(folder / CONFIG):
        raise ValueError(f"the model in {str(folder)!r} is quantized (quantization_config in {CONFIG}); {UNQUANTIZED}")


def open_classifier(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """Return a folder's model as a classifier of two classes, and what transformers reports about its tensors.

    Raise ValueError if transformers cannot read the model, its weights are quantized, or they do not fit its
    config.json. A pooler may be missing.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    for name in weight_files(folder):
        tensor_types(folder / name)
    with _name_unreadable_model(folder):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=2, dtype=torch.float32, use_safetensors=True, trust_remote_code=False,
            ignore_mismatched_sizes=True, output_loading_info=True,
        )  # fmt: skip
    check_encoder(model, report, folder, optional="pooler")
    return model, report


@contextmanager
def _name_unreadable_model(folder: Path) -> Iterator[None]:
    """Raise ValueError that names the folder for an error of transformers, which raises many kinds."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None):
            raise
        raise ValueError(f"transformers cannot read the model in {str(folder)!r} ({one_line(error)})") from error


def one_line(error: Exception) -> str:
    """Return the beginning of an error's text on one line, after its type if the text is a single word."""
    text = " ".join(str(error).split())[:200]
    return text if " " in text else f"{type(error).__name__} {text}"
