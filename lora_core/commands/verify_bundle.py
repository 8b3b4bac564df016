"""`lora-core verify-bundle`: draw a study again from the raw records in its archive, and compare.

Verifying takes only the raw records, lets the workflow score, aggregate, judge and draw, and compares every file with
the one in the archive, byte for byte. Snakemake works in an empty folder on a configuration that is written here from
the parsed one, so nothing in the archive decides what runs or where.
"""

from __future__ import annotations

import itertools
import os
import re
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.commands import failures
from lora_core.commands.bundle_archive import (
    BUNDLE,
    CONFIG,
    DRAWN,
    FORMAT,
    RAW,
    RESULTS,
    BundleArchive,
    matches,
    open_archive,
)
from lora_core.commands.bundle_config import local_sections, without_local_paths
from lora_core.commands.studies import load_study
from lora_core.commands.workflow_process import run_snakemake
from lora_core.config.outdated import outdated_results
from lora_core.data.local_files import file_format
from lora_core.evaluation.gradients import Gradients
from lora_core.job import STUDY_VARIABLE
from lora_core.layout import Layout
from lora_core.plain_text import plain, shorten
from lora_core.records import JsonObject, write_json
from lora_core.sealed import seal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lora_core.config.study import Study

RULES = (
    "compare_scores",
    "aggregate_energy",
    "collect_runs",
    "render_table",
    "draw_figure",
    "judge_claims",
    "write_report",
)


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


def is_of_first_version(archive: Path) -> bool:
    """Return whether a bundle was packed by the first version, whose tables and figures had another form."""
    with open_archive(archive) as bundle:
        return _format(bundle) == 1


def _outdated(folder: Path, study: Study) -> dict[str, str]:
    """Return the records of an unpacked bundle that its configuration does not ask for; any code may have made them."""
    config = study.model_dump(mode="json", exclude_unset=True)
    reasons = outdated_results(load_study(config | {"results_dir": str(folder / RESULTS)}))
    return {str(Path(name).relative_to(folder)): f"is not of its configuration: {why}" for name, why in reasons.items()}


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
    config = without_local_paths(bundle.read_json(CONFIG)) | {"results_dir": RESULTS}
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
        write_json(folder / identity, without_local_paths(bundle.read_json(identity)))
    for method in study.methods:
        if not (record := folder / RESULTS / Layout.gradients.format(method=method)).exists():  # in older bundles
            write_json(record, seal(asdict(Gradients(outputs=(), without={}))))
    config = study.model_dump(mode="json", exclude_unset=True)
    write_json(folder / CONFIG, config)
    _create_placeholders(folder, config)


def _create_placeholders(folder: Path, config: JsonObject) -> None:
    """Create empty files in place of local data and models: the workflow checks that they exist and reads none."""
    tasks = [card.parent.name for card in (folder / RESULTS).glob(Layout.data_card.format(task="*"))]
    names = [f"{task}/{split}-0.parquet" for task in tasks for split in ("train", "validation", "validation_matched")]
    for section in local_sections(config):
        path = folder / section["path"]
        others = ["train.csv", *(["validation.csv"] if section.get("validation_fraction") is None else [])]
        others += ["config.json", "model.safetensors", "tokenizer.json"]
        files = [path] if file_format(path.name) else [path / name for name in (*names, *others)]
        if test := section.get("test"):
            files.append(folder / test if file_format(test) else path / f"{test}.csv")
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


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
    result = run_snakemake(arguments, folder, environment | {STUDY_VARIABLE: identifier})
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
    """Return a text about contents of an archive as one line."""
    return shorten(plain(" ".join(text.split())), 500)
