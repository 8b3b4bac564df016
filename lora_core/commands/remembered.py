"""What Snakemake remembers of how runs were made, read from `.snakemake/metadata` without starting Snakemake.

Of its triggers, this compares the parameters, the content of inputs and the conda environment. Where Snakemake keeps
its memory elsewhere (`--persistence-backend db`), nothing is known.
"""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.config import params
from lora_core.config.differences import differences, plain
from lora_core.layout import Layout
from lora_core.records import JsonObject, require_regular_file, sha256

if TYPE_CHECKING:
    from lora_core.commands.run_names import RunName
    from lora_core.config.study import Study

METADATA = Path(".snakemake", "metadata")
ENVIRONMENT = Path("envs", "lora.yaml")  # in the folder of the workflow
MAX_NAME = 254  # characters of a file's name, of which longer ones are divided
CHECKSUM = "sha256:"


class Memory:
    """What Snakemake remembers of the runs of a study; `workflow` is the folder of the workflow."""

    def __init__(self, study: Study, workflow: Path) -> None:
        self._study = study
        self._layout = Layout(study.results_dir)
        self._environment = _content(workflow / ENVIRONMENT)

    def read(self, run: RunName) -> JsonObject | None:
        """Return the memory of a run; None if there is none, or in another form.

        If one of its files is forgotten, Snakemake compares none of them.
        """
        try:
            layout = self._layout
            others = (layout.history, layout.power, layout.predictions, layout.weights)
            if not all(_file(pattern.format(**vars(run))).exists() for pattern in others):
                return None
            file = _file(run.record(self._study))
            require_regular_file(file)
            memory = json.loads(file.read_bytes())
            return memory if isinstance(memory, dict) and isinstance(memory["params"], list) else None
        except (OSError, ValueError, LookupError, RecursionError):
            return None

    def changes(self, run: RunName, memory: JsonObject, code: str) -> Iterator[str]:
        """Yield what makes Snakemake repeat a run, as sentences; `code` is the digest of the code that trains it."""
        settings = params.run_params(self._study, run.method, run.task, run.seed)
        if repr(settings) not in memory["params"]:
            yield f"its parameters differ from those that Snakemake remembers{_differing(memory['params'], settings)}"
        if repr(code) not in memory["params"]:
            yield "its code differs from that which Snakemake remembers"
        if changed := [file for file in self._inputs(run) if _has_changed(file, run.record(self._study), memory)]:
            yield f"{', '.join(changed)} changed after it"
        environment = memory.get("conda_env")
        if environment and self._environment and environment != base64.b64encode(self._environment).decode():
            yield f"{ENVIRONMENT} changed, from which its conda environment was made"

    def _inputs(self, run: RunName) -> Sequence[str]:
        """The small records that are inputs of a run; the rest is ancient to Snakemake."""
        layout, study = self._layout, self._study
        start = study.hyperparameters(run.method, run.task).start_from
        of_start = [layout.run_record.format(**vars(run) | {"task": start})] if start else []
        model, card = layout.model_record.format(model=study.model.name), layout.data_card.format(task=run.task)
        return [model, card, *of_start]


def _file(product: str) -> Path:
    """The file in which Snakemake keeps the memory of a product."""
    text = base64.urlsafe_b64encode(product.encode()).decode()
    *folders, last = (text[i : i + MAX_NAME] for i in range(0, len(text), MAX_NAME))
    return METADATA.joinpath(*(f"@{folder}" for folder in folders), last)


def _differing(recorded: Sequence[Any], settings: dict[str, Any]) -> str:
    """Which settings differ, in brackets; empty if that is unknown."""
    for text in recorded:
        try:
            value = ast.literal_eval(text)
            if isinstance(value, dict) and value.keys() & settings.keys() and "seed" in value:
                return f" ({', '.join(differences(plain(value), plain(settings), complete=True))})"
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return ""


def _has_changed(file: str, product: str, memory: JsonObject) -> bool:
    """Whether an input is newer than a run and has another content than Snakemake remembers."""
    path, checksums = Path(file), memory.get("input_checksums") or {}
    if not path.is_file() or path.stat().st_mtime <= Path(product).stat().st_mtime:
        return False
    remembered = str(checksums.get(file, "")).removeprefix(CHECKSUM)
    return remembered != sha256(path)


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
