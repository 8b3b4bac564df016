"""`lora-core bundle` and `verify-bundle`: a study as one archive, from which all tables and figures are drawn again.

The archive holds the raw records, what was drawn from them, the configuration, the lock and the provenance of each
record; no weights and no text of the data. Verifying takes only the raw records, lets the workflow score, aggregate,
judge and draw, and compares every file with the one in the archive, byte for byte.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lora_core.commands.environment import check_results_folder
from lora_core.commands.studies import read_study
from lora_core.layout import Layout
from lora_core.provenance import ROOT
from lora_core.records import JsonObject, atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 2  # 1, of the first version, has no BUNDLE file
BUNDLE, CONFIG, LOCK, RESULTS = "bundle.json", "config.json", "requirements.lock", "results"
ANY = dict.fromkeys(("model", "method", "task", "seed", "table", "figure"), "*")
# Raw records; everything else in a bundle is made from them.
RAW = [
    pattern.format(**ANY)
    for pattern in (
        Layout.study,
        Layout.counts,
        Layout.memory_scaling,
        Layout.data_card,
        Layout.model_config,
        Layout.run_record,
        Layout.history,
        Layout.power,
        Layout.predictions,
        Layout.latency,
        Layout.latency_record,
    )
]
DRAWN = [
    pattern.format(**ANY)
    for pattern in (
        Layout.scores,
        Layout.costs,
        Layout.runs,
        f"{Layout.table}.*",
        f"{Layout.figure}.*",
        f"{Layout.claims}.*",
        Layout.report,
    )
]
RULES = (
    "compare_scores",
    "aggregate_energy",
    "collect_runs",
    "render_table",
    "draw_figure",
    "judge_claims",
    "write_report",
)
ABSENT = "not-in-the-bundle"  # the folder of local data and models in a bundle's configuration


def pack(overlays: Sequence[str], archive: Path) -> None:
    """Write the archive of a study; the same files give the same bytes.

    Snakemake says which files belong to the study, so what an earlier configuration left in the folder stays out. Raise
    ValueError if the study is not finished.
    """
    study = read_study(overlays)
    check_results_folder(study.results_dir)
    folder = Path(study.results_dir)
    names = _finished_files(study.results_dir, overlays)
    names |= {Layout.model_config.format(model=study.model.name), Layout.study}
    files = {f"{RESULTS}/{n}": (folder / n).read_bytes() for n in names if _matches(n, RAW) or _matches(n, DRAWN)}
    identity = json.loads(files[f"{RESULTS}/{Layout.study}"])
    files[f"{RESULTS}/{Layout.study}"] = _to_json(_without_local_paths(identity))
    config = study.model_dump(mode="json", exclude_unset=True) | {"results_dir": RESULTS}
    files[CONFIG] = _to_json(_without_local_paths(config))
    files[LOCK] = _project_file(LOCK).read_bytes()
    files[BUNDLE] = _to_json({"format": FORMAT})
    archive.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(archive) as temp_path, zipfile.ZipFile(temp_path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in sorted(files.items()):
            stream.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def verify(archive: Path) -> dict[str, str]:
    """Draw everything again from the raw records. Return the files that differ from those in the archive, and how.

    Raise ValueError if the archive is not a bundle or is of a newer format, and if the workflow fails.
    """
    with tempfile.TemporaryDirectory() as temp_folder, zipfile.ZipFile(archive) as stream:
        folder, names = Path(temp_folder), stream.namelist()
        if CONFIG not in names or any(Path(n).is_absolute() or ".." in Path(n).parts for n in names):
            raise ValueError(f"{archive} is not a bundle of a study")
        _check_format(archive, json.loads(stream.read(BUNDLE)).get("format") if BUNDLE in names else 1)
        packed = {n for n in names if n.startswith(f"{RESULTS}/") and _matches(n.removeprefix(f"{RESULTS}/"), DRAWN)}
        stream.extractall(folder, [n for n in names if n not in packed])
        _create_placeholders(folder, json.loads(stream.read(CONFIG)))
        # The report needs every table and figure, and those need every score and cost.
        arguments = ["--cores", "all", "--quiet", "all", "--allowed-rules", *RULES, "--configfile", CONFIG]
        _run_snakemake([*arguments, "--", f"{RESULTS}/{Layout.report}"], folder)
        drawn = {str(path.relative_to(folder)) for p in DRAWN for path in (folder / RESULTS).glob(p)}
        differences = dict.fromkeys(sorted(drawn - packed), "is not in the bundle")
        differences |= dict.fromkeys(sorted(packed - drawn), "is not made from it")
        changed = [n for n in sorted(drawn & packed) if (folder / n).read_bytes() != stream.read(n)]
        return differences | dict.fromkeys(changed, "differs")


def _check_format(archive: Path, version: object) -> None:
    if not isinstance(version, int) or version > FORMAT:
        raise ValueError(
            f"{archive} has the bundle format {version}, and this version reads up to {FORMAT}: use the version that "
            "wrote it"
        )


def _finished_files(results_dir: str, overlays: Sequence[str]) -> set[str]:
    """Return the files of a study relative to its results folder. Raise ValueError if one is not up to date."""
    summary = _run_snakemake(["--summary", *(["--configfile", *overlays] if overlays else [])], Path.cwd())
    rows = [line.split("\t") for line in summary.splitlines() if line.startswith(f"{results_dir}/")]
    if unfinished := [row[0] for row in rows if row[-1] != "no update"]:
        raise ValueError(
            f"{len(unfinished)} files of the study are not up to date, among them {unfinished[0]}: run the study first"
        )
    return {str(PurePosixPath(row[0]).relative_to(results_dir)) for row in rows}


def _run_snakemake(arguments: list[str], folder: Path) -> str:
    """Run this workflow in a folder and return its output. Raise ValueError if it fails."""
    command = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(_project_file("Snakefile")), *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise ValueError(f"the workflow failed:\n{(result.stdout + result.stderr)[-2000:]}")
    return result.stdout


def _project_file(name: str) -> Path:
    """Return a file of the project: next to this package, or of the working directory if the package is installed.

    Raise ValueError if it is in neither.
    """
    for folder in (ROOT, Path.cwd()):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"there is no {name} in this folder: run the command in a copy of the workflow")


def _without_local_paths(config: JsonObject) -> JsonObject:
    """Return the configuration without the names of this machine's folders."""
    for section in _local_sections(config):
        section["path"] = f"{ABSENT}/{Path(section['path']).resolve().name}"  # a model is named after its folder
    return config


def _local_sections(config: JsonObject) -> list[JsonObject]:
    """Return the sections that name a folder: the data, the model, and user-defined tasks."""
    sections = (config.get("data"), config.get("model"), *(config.get("task_settings") or {}).values())
    return [s for s in sections if s and s.get("source", "local") == "local" and "path" in s]


def _create_placeholders(folder: Path, config: JsonObject) -> None:
    """Create empty files in place of local data and models: the workflow checks that they exist and reads none."""
    tasks = [card.parent.name for card in (folder / RESULTS).glob(Layout.data_card.format(task="*"))]
    names = [f"{task}/{split}-0.parquet" for task in tasks for split in ("train", "validation", "validation_matched")]
    for section in _local_sections(config):
        for name in (*names, "train.csv", "validation.csv", "config.json", "model.safetensors", "tokenizer.json"):
            file = folder / section["path"] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(PurePosixPath(name).match(pattern) for pattern in patterns)


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
