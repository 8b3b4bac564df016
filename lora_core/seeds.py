"""One seed, several purposes: each purpose draws from a stream of its own.

So the head, the adapter, the order of the data and dropout are the same for every method at one seed, whatever else
a method draws.
"""

import hashlib


def derive(seed: int, purpose: str) -> int:
    """A seed for one purpose ("head", "adapter", "order-3", "dropout"), in 0..2^63-1."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
