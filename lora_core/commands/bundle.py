"""`lora-core bundle` and `verify-bundle`: a study as one archive, from which all tables and figures are drawn again.

The archive holds the raw records, what was drawn from them, the configuration, the lock and the provenance of each
record; no weights and no text of the data. Verifying takes only the raw records, lets the workflow score, aggregate,
judge and draw, and compares every file with the one in the archive, byte for byte. Snakemake works in an empty folder
on a configuration that is written here from the parsed one, so nothing in the archive decides what runs or where.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
import zipfile
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lora_core.atomic_files import atomic_file
from lora_core.commands import failures
from lora_core.commands.bundle_archive import (
    BUNDLE,
    CONFIG,
    DRAWN,
    LOCK,
    RAW,
    RESULTS,
    BundleArchive,
    check_members,
    matches,
    open_archive,
)
from lora_core.commands.studies import load_study, read_study
from lora_core.config.outdated import outdated_results
from lora_core.data.local_files import file_format
from lora_core.evaluation.gradients import Gradients
from lora_core.job import STUDY_VARIABLE
from lora_core.kept_runs import kept_run
from lora_core.layout import Layout
from lora_core.provenance import ROOT
from lora_core.records import JsonObject, write_json
from lora_core.sealed import seal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lora_core.config.study import Study

FORMAT = 2  # 1, of the first version, has no BUNDLE file
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
    folder = Path(study.results_dir)
    names = _finished_files(study.results_dir, overlays)
    names |= set(_kept_names(study))
    names |= {Layout.model_config.format(model=study.model.name), Layout.study}
    files = {f"{RESULTS}/{n}": (folder / n).read_bytes() for n in names if matches(n, (*RAW, *DRAWN))}
    identity = json.loads(files[f"{RESULTS}/{Layout.study}"])
    files[f"{RESULTS}/{Layout.study}"] = _to_json(_without_local_paths(identity, resolve=True))
    config = study.model_dump(mode="json", exclude_unset=True) | {"results_dir": RESULTS}
    files[CONFIG] = _to_json(_without_local_paths(config, resolve=True))
    files[LOCK] = _project_file(LOCK).read_bytes()
    files[BUNDLE] = _to_json({"format": FORMAT})
    archive.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(archive) as temp_path, zipfile.ZipFile(temp_path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in sorted(files.items()):
            stream.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
        check_members(archive, stream.infolist())  # what is packed can be verified


def verify(archive: Path) -> dict[str, str]:
    """Draw everything again from the raw records. Return the files that differ from those in the archive, and how.

    Raise ValueError if the archive is not a bundle or is of a newer format, or if its records cannot be drawn.
    """
    with open_archive(archive) as bundle, tempfile.TemporaryDirectory() as temp_folder:
        folder, study = Path(temp_folder), _read_study(archive, bundle)
        packed = bundle.names(DRAWN)
        _lay_out(bundle, study, folder)
        _draw(archive, folder)
        drawn = {str(path.relative_to(folder)) for path in (folder / RESULTS).rglob("*") if path.is_file()}
        drawn = {name for name in drawn if matches(name.removeprefix(f"{RESULTS}/"), DRAWN)}
        differences = _outdated(folder, study) | dict.fromkeys(sorted(drawn - packed), "is not in the bundle")
        differences |= dict.fromkeys(sorted(packed - drawn), "is not made from it")
        changed = [n for n in sorted(drawn & packed) if (folder / n).read_bytes() != bundle.read(n)]
        return differences | dict.fromkeys(changed, "differs")


def _kept_names(study: Study) -> Iterator[str]:
    """Yield the decisions to keep runs, which Snakemake does not list: no job makes them."""
    layout = Layout(study.results_dir)
    for method, task, seed in itertools.product(study.methods, study.tasks, study.seeds):
        place = {"method": method, "task": task, "seed": seed}
        if kept_run(layout.run_record.format(**place)):
            yield Layout.kept.format(**place)


def _outdated(folder: Path, study: Study) -> dict[str, str]:
    """Return the records of an unpacked bundle that its configuration does not ask for; any code may have made them."""
    config = study.model_dump(mode="json", exclude_unset=True)
    reasons = outdated_results(load_study(config | {"results_dir": str(folder / RESULTS)}))
    return {str(Path(name).relative_to(folder)): f"is not of its configuration: {why}" for name, why in reasons.items()}


def is_of_first_version(archive: Path) -> bool:
    """Return whether a bundle was packed by the first version, whose tables and figures had another form."""
    with open_archive(archive) as bundle:
        return _format(bundle) == 1


def _format(bundle: BundleArchive) -> Any:
    return bundle.read_json(BUNDLE).get("format") if BUNDLE in bundle else 1


def _read_study(archive: Path, bundle: BundleArchive) -> Study:
    """Return the study that the archive describes, with paths of the product's own.

    Raise ValueError if there is none, or if a record of it is missing.
    """
    if CONFIG not in bundle:
        raise ValueError(f"{archive} is not a bundle of a study: it has no {CONFIG}")
    version = _format(bundle)
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise ValueError(
            f"{archive} has the bundle format {version!r:.20}, and this version reads up to {FORMAT}: use the version "
            "that wrote it"
        )
    config = _without_local_paths(bundle.read_json(CONFIG)) | {"results_dir": RESULTS}
    entries = config.get("method_settings")
    if isinstance(entries, dict) and any(isinstance(entry, dict) and "sweep" in entry for entry in entries.values()):
        raise ValueError(f"{archive}: {CONFIG} has a sweep, and a bundle lists its methods; get a new copy")
    try:
        study = load_study(config)
    except ValueError as error:
        raise ValueError(f"{archive}: {CONFIG}: {_plain(str(error))}") from None
    missing = next((name for name in _records(study) if f"{RESULTS}/{name}" not in bundle), None)
    if missing:
        raise ValueError(f"{archive} lacks {RESULTS}/{missing}, which its study needs; get a new copy")
    return study


def _records(study: Study) -> Iterator[str]:
    """Yield the records that every study is drawn from."""
    yield from (Layout.counts, Layout.model_config.format(model=study.model.name))
    yield from (Layout.data_card.format(task=task) for task in study.trained_tasks)
    for task in study.tasks:
        for seed in study.timed_seeds:
            yield from (p.format(task=task, seed=seed) for p in (Layout.latency, Layout.latency_record))
    of_a_run = (Layout.run_record, Layout.history, Layout.power, Layout.predictions)
    for method, task, seed, pattern in itertools.product(study.methods, study.tasks, study.seeds, of_a_run):
        yield pattern.format(method=method, task=task, seed=seed)


def _lay_out(bundle: BundleArchive, study: Study, folder: Path) -> None:
    """Write what Snakemake reads to an empty folder: the raw records, the configuration, and placeholders."""
    identity = f"{RESULTS}/{Layout.study}"
    bundle.extract(bundle.names(RAW) - {identity}, folder)
    if identity in bundle:
        write_json(folder / identity, _without_local_paths(bundle.read_json(identity)))
    for method in study.methods:
        if not (record := folder / RESULTS / Layout.gradients.format(method=method)).exists():  # in older bundles
            write_json(record, seal(asdict(Gradients(outputs=(), without={}))))
    config = study.model_dump(mode="json", exclude_unset=True)
    write_json(folder / CONFIG, config)
    _create_placeholders(folder, config)


def _draw(archive: Path, folder: Path) -> None:
    """Let the workflow draw everything in a folder. Raise ValueError with the first reason why it cannot.

    Python does not search the folder for modules, and Snakemake reads no profile and asks no hub.
    """
    search_path = [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    identifier = str(uuid.uuid4())
    environment = {"PYTHONPATH": os.pathsep.join(search_path), "PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1"}
    arguments = ["--profile", "none", "--workflow-profile", "none", "--cores", "all", "--quiet", "progress", "rules"]
    # The report needs every table and figure, and those need every score and cost.
    arguments += ["--allowed-rules", *RULES, "--configfile", CONFIG, "--", f"{RESULTS}/{Layout.report}"]
    result = _run_snakemake(arguments, folder, environment | {STUDY_VARIABLE: identifier})
    if result.returncode:
        failed = failures.failed_jobs(folder / RESULTS / Layout.logs, identifier)
        reason = failed[0].reason if failed else _last_error(result.stdout + result.stderr)
        raise ValueError(f"{archive}: its records cannot be drawn: {_plain(reason)}")


def _last_error(output: str) -> str:
    """Return the last error that Snakemake prints, without the place in the code."""
    lines = [line for line in output.splitlines() if line.strip() and not line.strip().startswith('File "')]
    heads = [i for i, line in enumerate(lines) if re.match(r"\w+(Error|Exception) in ", line)]
    return " ".join(lines[heads[-1] + 1 :] if heads else lines[-1:])


def _plain(text: str) -> str:
    """Return a text about contents of an archive as one line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500]


def _finished_files(results_dir: str, overlays: Sequence[str]) -> set[str]:
    """Return the files of a study relative to its results folder. Raise ValueError if one is not up to date."""
    result = _run_snakemake(["--summary", *(["--configfile", *overlays] if overlays else [])], Path.cwd())
    if result.returncode:
        raise ValueError(f"the workflow failed:\n{(result.stdout + result.stderr)[-2000:]}")
    rows = [line.split("\t") for line in result.stdout.splitlines() if line.startswith(f"{results_dir}/")]
    if unfinished := [row[0] for row in rows if row[-1] != "no update"]:
        raise ValueError(
            f"{len(unfinished)} files of the study are not up to date, among them {unfinished[0]}: run the study first"
        )
    return {str(PurePosixPath(row[0]).relative_to(results_dir)) for row in rows}


def _run_snakemake(
    arguments: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this workflow in a folder, with variables added to the environment."""
    # With -P, Python does not search the working directory for modules.
    command = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(_project_file("Snakefile")), *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | (environment or {}), capture_output=True, text=True, errors="replace"
    )


def _project_file(name: str) -> Path:
    """Return a file of the project: next to this package, or of the working directory if the package is installed.

    Raise ValueError if it is in neither.
    """
    for folder in (ROOT, Path.cwd()):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"there is no {name} in this folder: run the command in a copy of the workflow")


def _without_local_paths(config: JsonObject, *, resolve: bool = False) -> JsonObject:
    """Return the configuration without the names of folders: only the last part of each remains, in plain characters.

    `resolve` follows links, as the name of a model does; it is for paths of this machine alone.
    """
    for section in _local_sections(config):
        names = ["path", *(["test"] if file_format(str(section.get("test"))) else [])]  # a test split may be a file
        for name in names:
            path = Path(section[name]).resolve() if resolve else PurePosixPath(section[name])
            plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.name)[:200]
            section[name] = f"{ABSENT}/{(plain.strip('.') and plain) or 'folder'}"
    return config


def _local_sections(config: JsonObject) -> list[JsonObject]:
    """Return the sections that name a folder: the data, the model, and user-defined tasks."""
    tasks = config.get("task_settings")
    sections = [config.get("data"), config.get("model"), *(tasks.values() if isinstance(tasks, dict) else ())]
    return [s for s in sections if isinstance(s, dict) and _names_folder(s)]


def _names_folder(section: JsonObject) -> bool:
    return section.get("source", "local") == "local" and isinstance(section.get("path"), str)


def _create_placeholders(folder: Path, config: JsonObject) -> None:
    """Create empty files in place of local data and models: the workflow checks that they exist and reads none."""
    tasks = [card.parent.name for card in (folder / RESULTS).glob(Layout.data_card.format(task="*"))]
    names = [f"{task}/{split}-0.parquet" for task in tasks for split in ("train", "validation", "validation_matched")]
    for section in _local_sections(config):
        path = folder / section["path"]
        others = ["train.csv", *(["validation.csv"] if section.get("validation_fraction") is None else [])]
        others += ["config.json", "model.safetensors", "tokenizer.json"]
        files = [path] if file_format(path.name) else [path / name for name in (*names, *others)]
        if test := section.get("test"):
            files.append(folder / test if file_format(test) else path / f"{test}.csv")
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
