"""Tokenizers of a sentencepiece file alone: transformers converts them, and this compares them with the original."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("spiece.model", "spm.model", "sentencepiece.bpe.model", "sentencepiece.model", "tokenizer.model")

# What conversions get wrong: letters, spaces, forms of characters, accents, numbers, quotes, and unknown characters.
SAMPLES = (
    "a quick brown fox", "The Quick Fox.", "  two  spaces ", "no\u00a0break", "tab\there\nnew line", "", "   ",
    "\ufb01lm \u2460", "\uff21\uff22\uff23", "caf\u00e9 na\u00efve", "cafe\u0301", "Stra\u00dfe \u0130stanbul",
    "1,000 people in 2,024.", "it's \"good\" ``bad'' don't", "well-known (movie), isn't it?",
    "\u65e5\u672c\u8a9e \U0001f642\U0001f642", "dog\u2581cat", "x" * 40,
)  # fmt: skip


def open_file(file: Path) -> Any:
    """Return sentencepiece's own processor of a file. Raise ValueError if it cannot read the file."""
    from sentencepiece import SentencePieceProcessor

    try:
        return SentencePieceProcessor(model_file=str(file))
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{str(file)!r} is damaged, or no sentencepiece file; copy it again from the model") from error


def check_conversion(tokenizer: Any, file: Path) -> None:
    """Raise ValueError if a tokenizer that transformers made of a sentencepiece file gives other tokens than the file.

    Its ids may all be shifted by one number, as those of XLM-RoBERTa are; its special tokens must not be missing.
    """
    problem = _difference(tokenizer, open_file(file))
    if problem:
        raise ValueError(
            f"{type(tokenizer).__name__}, which transformers makes of {str(file)!r}, is not the model's tokenizer "
            f"({problem}); put the model's tokenizer.json next to it"
        )


def _difference(tokenizer: Any, original: Any) -> str | None:
    """What a converted tokenizer does differently from the `original` processor; None if nothing is found."""
    if (tokenizer.cls_token or tokenizer.sep_token) and not tokenizer.num_special_tokens_to_add():
        missing = " and ".join(token for token in (tokenizer.cls_token, tokenizer.sep_token) if token)
        return f"it does not add {missing}"
    pieces = [i for i in range(original.get_piece_size()) if not (original.is_control(i) or original.is_unknown(i))]
    vocabulary = tokenizer.get_vocab()
    shifts = {vocabulary.get(original.id_to_piece(i), -1) - i for i in pieces}
    if len(shifts) != 1:
        return "its vocabulary has another order"
    shift = shifts.pop()
    for text in SAMPLES:
        encoded = original.encode(_as_in_pretraining(text, tokenizer))
        expected = [tokenizer.unk_token_id if original.is_unknown(i) else i + shift for i in encoded]
        if tokenizer.encode(text, add_special_tokens=False) != expected:
            return f"for {text!r} it has other tokens than the file"
    return None


def _as_in_pretraining(text: str, tokenizer: Any) -> str:
    """Change a text as the family's own code did before sentencepiece, by the tokenizer's settings."""
    if hasattr(tokenizer, "keep_accents"):
        text = " ".join(text.split()).replace("``", '"').replace("''", '"')
        if not tokenizer.keep_accents:
            text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.lower() if getattr(tokenizer, "do_lower_case", False) else text
