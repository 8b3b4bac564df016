"""The lines that say before the first job what is made again, and why."""

from __future__ import annotations

from collections.abc import Mapping

from lora_core.config.differences import SETTINGS_DIFFER

LISTED = 3  # products that a line names
# After a change of settings, what was made with the earlier ones may still be wanted.
KEEP_BOTH = (
    "Each result with the earlier settings is replaced when its job starts. To keep both, press Ctrl-C and use "
    "`--config results_dir=results/other`, or another entry of `method_settings` and `methods`."
)


def announcement(reasons: Mapping[str, str]) -> list[str]:
    """Return a line for each reason, with the products that are made again for it."""
    lines = []
    for reason in dict.fromkeys(reasons.values()):
        products = [product for product, why in reasons.items() if why == reason]
        listed = ", ".join(products[:LISTED]) + (f" and {len(products) - LISTED} more" if products[LISTED:] else "")
        lines.append(f"made again, because {reason}: {listed}")
    if any(reason.startswith(SETTINGS_DIFFER) for reason in reasons.values()):
        lines.append(KEEP_BOTH)
    return lines
