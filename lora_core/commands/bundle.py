"""`lora-core bundle`: a study as one archive, from which all tables and figures are drawn again.

The archive holds the raw records, what was drawn from them, the configuration, the lock and the provenance of each
record; no weights and no text of the data.
"""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lora_core.atomic_files import atomic_file
from lora_core.commands.bundle_archive import BUNDLE, CONFIG, DRAWN, FORMAT, LOCK, RAW, RESULTS, check_members, matches
from lora_core.commands.bundle_config import without_local_paths
from lora_core.commands.studies import read_study
from lora_core.commands.workflow_process import project_file, run_snakemake
from lora_core.kept_runs import kept_run
from lora_core.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lora_core.config.study import Study


def pack(overlays: Sequence[str], archive: Path) -> None:
    """Write the archive of a study; the same files give the same bytes.

    Snakemake says which files belong to the study, so what an earlier configuration left in the folder stays out. Raise
    ValueError if the study is not finished.
    """
    study = read_study(overlays)
    folder = Path(study.results_dir)
    names = _finished_files(study.results_dir, overlays)
    names |= set(_kept_names(study))
    names |= {Layout.model_config.format(model=study.model.name), Layout.study}
    files = {f"{RESULTS}/{n}": (folder / n).read_bytes() for n in names if matches(n, (*RAW, *DRAWN))}
    identity = json.loads(files[f"{RESULTS}/{Layout.study}"])
    files[f"{RESULTS}/{Layout.study}"] = _to_json(without_local_paths(identity, resolve=True))
    config = study.model_dump(mode="json", exclude_unset=True) | {"results_dir": RESULTS}
    files[CONFIG] = _to_json(without_local_paths(config, resolve=True))
    files[LOCK] = project_file(LOCK).read_bytes()
    files[BUNDLE] = _to_json({"format": FORMAT})
    archive.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(archive) as temp_path, zipfile.ZipFile(temp_path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in sorted(files.items()):
            stream.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
        check_members(archive, stream.infolist())  # what is packed can be verified


def _kept_names(study: Study) -> Iterator[str]:
    """Yield the decisions to keep runs, which Snakemake does not list: no job makes them."""
    layout = Layout(study.results_dir)
    for method, task, seed in itertools.product(study.methods, study.tasks, study.seeds):
        place = {"method": method, "task": task, "seed": seed}
        if kept_run(layout.run_record.format(**place)):
            yield Layout.kept.format(**place)


def _finished_files(results_dir: str, overlays: Sequence[str]) -> set[str]:
    """Return the files of a study relative to its results folder. Raise ValueError if one is not up to date."""
    result = run_snakemake(["--summary", *(["--configfile", *overlays] if overlays else [])], Path.cwd())
    if result.returncode:
        raise ValueError(f"the workflow failed:\n{(result.stdout + result.stderr)[-2000:]}")
    rows = [line.split("\t") for line in result.stdout.splitlines() if line.startswith(f"{results_dir}/")]
    if unfinished := [row[0] for row in rows if row[-1] != "no update"]:
        raise ValueError(
            f"{len(unfinished)} files of the study are not up to date, among them {unfinished[0]}: run the study first"
        )
    return {str(PurePosixPath(row[0]).relative_to(results_dir)) for row in rows}


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
