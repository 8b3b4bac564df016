"""Texts as they are compared: without case, punctuation and the kind of their spaces."""

import unicodedata


class _Punctuation(dict[int, int | None]):
    """Drops the punctuation of every script; signs such as + and emojis stay, because they carry meaning."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code)).startswith("P") else code
        return self[code]


_PUNCTUATION = _Punctuation()


def normalize(text: str) -> str:
    """Return a text in small letters without punctuation, its words separated by one space each.

    A text of punctuation alone stays as it is.
    """
    words = unicodedata.normalize("NFKC", text).casefold().translate(_PUNCTUATION).split()
    return " ".join(words) or text
