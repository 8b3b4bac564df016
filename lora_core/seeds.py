"""Separate random streams derived from one seed, one for each purpose.

The head, the adapter, the order of the data and dropout are therefore the same for every method at one seed, whatever
else a method draws.
"""

import hashlib


def derive(seed: int, purpose: str) -> int:
    """Return the seed of one purpose ("head", "adapter", "order-3", "dropout"), in 0..2^63-1."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
