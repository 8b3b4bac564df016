"""A model's tokenizer: its files, and a check that it is the model's and not one that transformers made up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

# The files that hold a vocabulary, by the names that transformers' tokenizers give them.
VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "spm.model", "sentencepiece.bpe.model",
    "sentencepiece.model", "tokenizer.model", "bpe.codes", "dict.txt", "entity_vocab.json", "word_shape.json",
    "word_pronunciation.json",
)  # fmt: skip
TOKENIZER_FILES = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def check_tokenizer_files(folder: Path) -> None:
    """Raise ValueError if a model's folder has no vocabulary, for which transformers would make up an empty one."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ValueError(
            f"{str(folder)!r} has no tokenizer; copy the model's tokenizer.json there, or its vocabulary (vocab.txt, "
            "or the like) with tokenizer_config.json"
        )


def open_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model's folder. Raise ValueError if it cannot be read, is made up or knows no text."""
    from transformers import AutoTokenizer

    check_tokenizer_files(folder)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise many kinds, plain Exception among them
        raise ValueError(
            f"transformers cannot read the tokenizer in {str(folder)!r} ({' '.join(str(error).split())[:200]}); "
            "a folder with tokenizer.json needs no other package, a sentencepiece file needs sentencepiece and protobuf"
        ) from error
    files = [name for key, name in tokenizer.vocab_files_names.items() if key != "tokenizer_file"]
    is_complete = bool(files) and all((folder / name).is_file() for name in files)
    if not is_complete and not (folder / "tokenizer.json").is_file():
        expected = " and ".join(files) or "a vocabulary"
        raise ValueError(
            f"{str(folder)!r} has no tokenizer: {type(tokenizer).__name__} reads tokenizer.json, or {expected}"
        )
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        raise ValueError(f"the tokenizer in {str(folder)!r} ({type(tokenizer).__name__}) has an empty vocabulary")
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer in {str(folder)!r} ({type(tokenizer).__name__}) cannot be stored as tokenizer.json, the "
            "only form that is read here"
        )
    return tokenizer


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


def copy_tokenizer(folder: Path, out: Path) -> None:
    """Copy a prepared model's tokenizer next to weights, so that a pipeline finds it."""
    for name in TOKENIZER_FILES:
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name)
