"""Computed files that are not what their jobs wrote, such as those of another study, or edited ones.

Their own digest covers their content and, where others have the same form, their place in the results folder. Which
study they are of, only the exit records of the jobs say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lora_core.job_records import Recorded
from lora_core.layout import Layout
from lora_core.records import sha256

NOT_WRITTEN = "it is not what its job wrote"
# Small files from which others are made, and that are made again within seconds. What people may edit is none of them,
# nor are predictions of memory: no table shows them, and Snakemake would train the runs that came after them again.
_PATTERNS = (Layout.counts, Layout.gradients, Layout.scores, Layout.costs, Layout.runs)
_PLACES = tuple(pattern.partition("{")[0] for pattern in _PATTERNS)
_TABLES = Layout.table.partition("{")[0]


def foreign_products(results: str, recorded: Mapping[str, Recorded]) -> dict[str, str]:
    """Return the computed files of a results folder that differ from what `recorded` says of them, with the reason.

    A file of which nothing is recorded is left as it is.
    """
    foreign = {}
    for name, one in recorded.items():
        if one.digests is None or not _is_computed(name):
            continue
        path = f"{results}/{name}"
        try:
            if sha256(Path(path)) not in one.digests:
                foreign[path] = NOT_WRITTEN
        except (OSError, ValueError):  # it is missing, or not a file, which others report
            continue
    return foreign


def _is_computed(name: str) -> bool:
    return name.startswith(_PLACES) or (name.startswith(_TABLES) and name.endswith(".json"))
