"""What the generators of mini-GLUE share: types, sentences and random choices."""

import random
from collections.abc import Sequence
from typing import TypeVar

Rng = random.Random
T = TypeVar("T")
Example = tuple[tuple[str, ...], float]  # the texts and the label


def sentence(*parts: str) -> str:
    """Return the parts that are not empty, joined, with a capital and a full stop."""
    text = " ".join(part for part in parts if part)
    return text[0].upper() + text[1:] + "."


def with_article(noun: str) -> str:
    """Return the noun with its indefinite article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def other(rng: Rng, choices: Sequence[T], *excluded: T) -> T:
    """Return one of the choices that are not excluded."""
    return rng.choice([choice for choice in choices if choice not in excluded])
