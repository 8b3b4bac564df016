"""The lines that say before the first job what is made again, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_core.config.differences import SETTINGS_DIFFER
from lora_core.config.run_changes import OTHER_CODE
from lora_core.records import JsonObject, read_json

LISTED = 3  # products that a line names
MUCH_SECONDS = 3600.0  # of recorded work, from which on a sentence says how much is made again
BY_SNAKEMAKE = "Snakemake plans it"
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
        lines.append(f"rerun because {reason}: {listed}")
    if any(reason.startswith(SETTINGS_DIFFER) for reason in reasons.values()):
        lines.append(KEEP_BOTH)
    return lines


def retraining(reasons: Mapping[str, str | None]) -> str | None:
    """Return a sentence about finished runs that are made again, if they took more than `MUCH_SECONDS` together.

    `reasons` are by the path of each run.json; None is a reason that only Snakemake knows.
    """
    seconds = {path: recorded_seconds(_read(path)) for path in reasons}
    total = sum(seconds.values())
    if total <= MUCH_SECONDS:
        return None
    known = {path: reason or BY_SNAKEMAKE for path, reason in reasons.items()}
    by_reason = {reason: [path for path in known if known[path] == reason] for reason in known.values()}
    listed = sorted(by_reason, key=lambda reason: -sum(seconds[path] for path in by_reason[reason]))
    parts = [f"{reason} ({len(by_reason[reason])})" if listed[1:] else reason for reason in listed[:LISTED]]
    more = f", and {len(listed) - LISTED} other reasons" if listed[LISTED:] else ""
    keep = ", or keep those with `lora-core keep`" if any(r.startswith(OTHER_CODE) for r in listed) else ""
    runs = f"{len(known)} finished runs" if len(known) > 1 else "a finished run"
    return (
        f"{runs} with {total / 3600:.1f} h of recorded work will be trained again, because {'; '.join(parts)}{more}: "
        f"press Ctrl-C to look at `lora-core status --why` first{keep}"
    )


def recorded_seconds(run: Mapping[str, Any]) -> float:
    """Return how long a run prepared, trained and evaluated, by its run.json; 0 if that does not say it."""
    try:
        measured = run["measurement"]
        preparation = (measured.get("preparation") or {}).get("seconds") or 0.0
        return float(measured["train_seconds"]) + float(measured["eval_seconds"]) + float(preparation)
    except (ValueError, LookupError, TypeError, AttributeError):
        return 0.0


def _read(path: str) -> JsonObject:
    """A record; empty if it is damaged."""
    try:
        return read_json(Path(path))
    except (OSError, ValueError):
        return {}
