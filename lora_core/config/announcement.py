"""The lines that say before the first job what is made again, and why."""

from __future__ import annotations

from collections.abc import Mapping

LISTED = 3  # products that a line names


def announcement(reasons: Mapping[str, str]) -> list[str]:
    """Return a line for each reason, with the products that are made again for it."""
    lines = []
    for reason in dict.fromkeys(reasons.values()):
        products = [product for product, why in reasons.items() if why == reason]
        listed = ", ".join(products[:LISTED]) + (f" and {len(products) - LISTED} more" if products[LISTED:] else "")
        lines.append(f"made again, because {reason}: {listed}")
    return lines
