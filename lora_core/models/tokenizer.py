"""A model's tokenizer: its files, and a check that it is the model's and not one that transformers made up."""

from __future__ import annotations

import inspect
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_core.data.truncation import truncate
from lora_core.models import sentencepiece_files
from lora_core.records import read_json, write_json

# The files that hold a vocabulary, by the names that transformers' tokenizers give them.
VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", *sentencepiece_files.FILES, "bpe.codes", "dict.txt",
    "entity_vocab.json", "word_shape.json", "word_pronunciation.json",
)  # fmt: skip
# Above this share of words with capital letters a vocabulary is one for texts that keep them.
CAPITALS = 0.01
# What a tokenizer remembers of its last call: in tokenizer.json, and in tokenizer_config.json.
CALL_STATE = ("truncation", "padding")
CALL_OPTIONS = ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of")
TOKENIZER_FILES = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def check_tokenizer_files(folder: Path) -> None:
    """Raise ValueError if a model's folder has no vocabulary, for which transformers would make up an empty one."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ValueError(
            f"{str(folder)!r} has no tokenizer; copy the model's tokenizer.json there, or its vocabulary (vocab.txt, "
            "or the like) with tokenizer_config.json"
        )


@dataclass(frozen=True)
class ModelTokenizer:
    """A model's tokenizer.

    Attributes:
        loaded: What transformers makes of the files: its special tokens, its padding side and its maximum length.
        file: The model's tokenizer.json, which is the tokenizer itself; None if `loaded` was converted from others.
    """

    loaded: Any
    file: Path | None = None

    @property
    def backend(self) -> Any:
        """The tokenizer itself."""
        from tokenizers import Tokenizer

        return self.loaded.backend_tokenizer if self.file is None else Tokenizer.from_file(str(self.file))

    def save(self, folder: Path, model: Any, max_length: int | None) -> None:
        """Write it next to a prepared model's config.json so that AutoTokenizer reads tokenizer.json as it is.

        A class of a model takes only the vocabulary from that file and makes up the rest, so none is named. Truncation
        and padding are left out, which would apply to every text that the package tokenizers encodes. Raise ValueError
        if AutoTokenizer gives other tokens nevertheless.
        """
        backend = self.backend
        backend.no_truncation()
        backend.no_padding()
        if self.file is None:
            backend.save(str(folder / "tokenizer.json"))
        else:
            _copy_without_calls(self.file, folder / "tokenizer.json")
        limit = self.loaded.model_max_length
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": limit if max_length is None else min(limit, max_length),
            "model_input_names": _input_names(self.loaded, backend, model),
            "padding_side": self.loaded.padding_side,
            "truncation_side": "right",  # as `lora_core.data.truncation` does, whatever the model came with
            "clean_up_tokenization_spaces": self.loaded.clean_up_tokenization_spaces,
        }
        write_json(folder / "tokenizer_config.json", settings | _special_tokens(self.loaded, backend, model))
        _check_saved(folder, backend)


def open_tokenizer(folder: Path) -> ModelTokenizer:
    """Return the tokenizer of a model's folder. Raise ValueError if it cannot be read, is made up or knows no text."""
    check_tokenizer_files(folder)
    file = folder / "tokenizer.json" if (folder / "tokenizer.json").is_file() else None
    originals = [folder / name for name in sentencepiece_files.FILES if file is None and (folder / name).is_file()]
    for original in originals:
        sentencepiece_files.open_file(original)
    try:
        loaded = _load(folder)
        tokenizer = ModelTokenizer(loaded, file)
        words = (tokenizer.backend if file or loaded.is_fast else loaded).get_vocab().keys()
    except Exception as error:  # transformers and tokenizers raise many kinds, plain Exception among them
        raise ValueError(
            f"transformers cannot read the tokenizer in {str(folder)!r} ({' '.join(str(error).split())[:200]}); "
            "put the model's tokenizer.json there"
        ) from error
    if file is None:
        _check_converted(loaded, folder)
    if not words - set(loaded.all_special_tokens):
        raise ValueError(f"the tokenizer in {str(folder)!r} ({type(loaded).__name__}) has an empty vocabulary")
    return tokenizer


def _load(folder: Path) -> Any:
    """What transformers makes of a tokenizer's files: by the model's class, which names the special tokens.

    A class that cannot read a tokenizer.json of another kind than its own is left out.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception:
        if not (folder / "tokenizer.json").is_file():
            raise
        return PreTrainedTokenizerFast.from_pretrained(folder)


def _check_converted(loaded: Any, folder: Path) -> None:
    """Raise ValueError if a tokenizer was not made of the files in `folder`, or is not what those files say."""
    files = [name for key, name in loaded.vocab_files_names.items() if key != "tokenizer_file"]
    if not files or not all((folder / name).is_file() for name in files):
        expected = " and ".join(files) or "a vocabulary"
        raise ValueError(
            f"{str(folder)!r} has no tokenizer: {type(loaded).__name__} reads tokenizer.json, or {expected}"
        )
    if not loaded.is_fast:
        raise ValueError(
            f"the tokenizer in {str(folder)!r} ({type(loaded).__name__}) cannot be stored as tokenizer.json, the "
            "only form that is read here"
        )
    _check_case(loaded, folder)
    for name in files:
        if name in sentencepiece_files.FILES:
            sentencepiece_files.check_conversion(loaded, folder / name)


def _check_case(loaded: Any, folder: Path) -> None:
    """Raise ValueError if a vocabulary with capital letters is lower-cased only by a class's default."""
    settings = folder / "tokenizer_config.json"
    is_stated = settings.is_file() and "do_lower_case" in read_json(settings)
    words = loaded.get_vocab().keys() - set(loaded.all_special_tokens)
    capitals = sum(word != word.lower() for word in words)
    if getattr(loaded, "do_lower_case", False) and not is_stated and capitals > CAPITALS * len(words):
        raise ValueError(
            f"the vocabulary in {str(folder)!r} has capital letters, but {type(loaded).__name__} lower-cases every "
            "text by default; add a tokenizer_config.json that sets do_lower_case, or the model's tokenizer.json"
        )


def _special_tokens(loaded: Any, backend: Any, model: Any) -> dict[str, str]:
    """The names of the special tokens that `backend` knows; a class of a model has some that it does not."""
    names = {key: str(token) for key, token in loaded.special_tokens_map.items() if isinstance(token, str)}
    known = {key: token for key, token in names.items() if backend.token_to_id(token) is not None}
    padding = model.config.pad_token_id
    if padding is not None and "pad_token" not in known and backend.id_to_token(padding) is not None:
        known["pad_token"] = backend.id_to_token(padding)
    return known


def _input_names(loaded: Any, backend: Any, model: Any) -> list[str]:
    """The inputs of the model; token types if it has several and the tokenizer tells two texts apart by them.

    A class of a tokenizer leaves them out for ALBERT, XLNet, BigBird and RemBERT.
    """
    has_types = "token_type_ids" in inspect.signature(model.forward).parameters and (
        getattr(model.config, "type_vocab_size", 2) > 1
    )
    names = [name for name in loaded.model_input_names if name != "token_type_ids"]
    if has_types and any(backend.encode("a", "b").type_ids):
        names.insert(1, "token_type_ids")
    return names


def _check_saved(folder: Path, backend: Any) -> None:
    """Raise ValueError if AutoTokenizer gives other tokens for a prepared model's folder than the model is trained on.

    Those are the tokens of its tokenizer.json, and of long texts the ones that `truncate` keeps.
    """
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for text in sentencepiece_files.SAMPLES:
        for texts in ((text,), (text, "another text")):
            whole = backend.encode(*texts)
            limit = len(whole) - sum(part is not None for part in whole.sequence_ids) // 2
            shortened = read(*texts, truncation=True, max_length=limit)["input_ids"]
            if read(*texts)["input_ids"] != whole.ids or shortened != truncate(whole, limit)[0].tolist():
                raise ValueError(
                    f"transformers reads the tokenizer.json of this model as a different tokenizer: {text!r} has other "
                    "tokens; use another model, or correct its tokenizer.json"
                )


def byte_tokenizer(pad: int, vocabulary: int) -> ModelTokenizer:
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
    loaded = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", cls_token="<s>", sep_token="</s>", unk_token="<unk>",
        mask_token="<mask>",
    )  # fmt: skip
    return ModelTokenizer(loaded)


def _copy_without_calls(file: Path, out: Path) -> None:
    """Copy a tokenizer.json with nothing changed but truncation and padding, which it may hold from its last call."""
    content = read_json(file)
    if any(content.get(key) is not None for key in CALL_STATE):
        write_json(out, content | dict.fromkeys(CALL_STATE))
    else:
        shutil.copyfile(file, out)


def copy_tokenizer(folder: Path, out: Path, max_length: int) -> None:
    """Copy a prepared model's tokenizer next to weights that were trained on at most `max_length` tokens."""
    for name in TOKENIZER_FILES:
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name)
    settings = read_json(out / "tokenizer_config.json")
    kept = {key: value for key, value in settings.items() if key not in CALL_OPTIONS}
    write_json(out / "tokenizer_config.json", kept | {"model_max_length": max_length})
