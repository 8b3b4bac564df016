"""`lora-core publish`: what of a run would be uploaded to the Hugging Face hub, with a model card of its own.

`upload.py` uploads it. Nothing is uploaded but the files that weights consist of and the card: no records, no
checkpoints, and no path of this machine.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.commands.base_license import base_license
from lora_core.commands.private_paths import check_no_private_paths
from lora_core.data.tasks import task_title
from lora_core.evaluation.run_record import RunRecord
from lora_core.intact import check_model, check_weights
from lora_core.layout import HISTORY, Layout, wildcards
from lora_core.methods import adapter_files
from lora_core.models.tokenizer import TOKENIZER_FILES
from lora_core.records import read_json, read_run_record, write_json
from lora_core.reporting.card_metadata import CardFacts, card_metadata, hub_name, is_hub_name
from lora_core.reporting.card_usage import Repository, who_can_open
from lora_core.reporting.model_card import model_card

if TYPE_CHECKING:
    from lora_core.config.study import Study
    from lora_core.methods.settings import MethodSettings

CARD = "README.md"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
ADAPTER = (adapter_files.CONFIG, adapter_files.WEIGHTS, *TOKENIZER_FILES)
MODEL = ("config.json", "*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES)


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        run: The folder of a finished run.
        repository: The name of the repository on the hub.
        merged: Whether the merged model is uploaded instead of the run's weights.
        base_model: The name of the base model on the hub, where the run used a folder.
    """

    run: Path
    repository: str
    merged: bool = False
    base_model: str | None = None


@dataclass(frozen=True)
class Upload:
    """What is ready for the hub: a folder with the files, the name of the repository, and what the user should know."""

    folder: Path
    repository: str
    title: str
    metadata: str
    notes: list[str]


def prepare(study: Study, request: Request, folder: Path) -> Upload:
    """Put links to the weights, their configuration without local paths, and the card into `folder`, which is empty.

    Raise ValueError if the run is not the study's, a file is missing or damaged, or a path of this machine would leave.
    """
    for option, name in (("--repo", request.repository), ("--base", request.base_model)):
        if name is not None and not HUB_NAME.fullmatch(name):
            raise ValueError(f"{option}: {name!r} is not a name on the hub; write OWNER/NAME or NAME")
    run = _read_run(study, request.run)
    settings = study.settings(run.method)
    source, names = _merged_files(study, run, settings) if request.merged else _weights_files(study, run)
    for name in names:
        (folder / name).symlink_to((source / name).resolve())
    is_adapter = adapter_files.CONFIG in names
    named_base = _write_adapter_config(source, folder, request.base_model) if is_adapter else None
    library = "transformers" if request.merged else settings.library
    license = base_license(study.model)
    configured = {} if study.model_card.license is None else {"license": study.model_card.license}
    base_model = request.base_model or hub_name(run)
    facts = CardFacts(license or configured, study.model_card.grid_co2_grams_per_kwh, base_model, _metrics(study, run))
    label = study.labels.get(run.method, settings.default_label())
    repository = Repository(full_name(request.repository), named_base)
    card = model_card(run, label, library, False, facts, repository)
    (folder / CARD).write_text(card, encoding="utf-8")
    check_no_private_paths(folder, Path(study.results_dir))
    return Upload(
        folder=folder,
        repository=request.repository,
        title=f"{label} on {task_title(run.task)}, seed {run.seed}",
        metadata=str(card_metadata(run, library, facts).to_yaml()),
        notes=_notes(run, facts, is_alone=is_adapter and named_base is None),
    )


def full_name(repository: str, owner: str = "OWNER") -> str:
    """Return a repository's name with its owner, whom the hub knows from the token if the user names none."""
    return repository if "/" in repository else f"{owner}/{repository}"


def _write_adapter_config(source: Path, folder: Path, base_model: str | None) -> str | None:
    """Write the configuration without a path of this machine, and return the name on the hub of its base model.

    `base_model` replaces the name that it has, whose revision is then left out.
    """
    config = adapter_files.read_config(source)
    recorded = config.pop("base_model_name_or_path", None)
    name = base_model or (recorded if recorded and is_hub_name(recorded) else None)
    if name != recorded:
        config.pop("revision", None)
    (folder / adapter_files.CONFIG).unlink()
    write_json(folder / adapter_files.CONFIG, config | {"base_model_name_or_path": name})
    return name


def _read_run(study: Study, folder: Path) -> RunRecord:
    """Read the record of a finished run of the study, after checking its files."""
    example = Layout(study.results_dir).run.format(method="METHOD", task="TASK", seed=1)
    path = folder / "run.json"
    try:
        place = wildcards(Layout.run_record, path)
    except ValueError:
        raise ValueError(f"{folder} is not the folder of a run; name one such as {example}") from None
    expected = Path(Layout(study.results_dir).run_record.format(**place))
    if not path.is_file():
        raise ValueError(f"{folder} has no run.json; name the folder of a finished run, such as {example}")
    if path.resolve() != expected.resolve() or place["method"] not in study.method_settings:
        raise ValueError(
            f"{folder} does not belong to this configuration, whose results are in {study.results_dir}; name the "
            "configuration of its study with --configfile"
        )
    run = RunRecord.read(path, {HISTORY: path.with_name(HISTORY)})
    if run.model != study.model.name:
        raise ValueError(
            f"{folder} was trained from {run.model}, but this configuration's model is {study.model.name}; name the "
            "configuration of its study with --configfile"
        )
    return run


def _place(run: RunRecord) -> dict[str, object]:
    return {"method": run.method, "task": run.task, "seed": run.seed}


def _weights_files(study: Study, run: RunRecord) -> tuple[Path, list[str]]:
    """Return the folder of a run's weights and the files to upload, after comparing all of them with the record."""
    layout = Layout(study.results_dir)
    folder = Path(layout.weights.format(**_place(run)))
    if not folder.is_dir():
        record = layout.run_record.format(**_place(run))
        raise ValueError(f"{folder} is missing; delete the folder {Path(record).parent} and run again")
    names = check_weights(folder, Path(layout.run_record.format(**_place(run))))
    return folder, _chosen(names, ADAPTER if adapter_files.CONFIG in names else MODEL)


def _merged_files(study: Study, run: RunRecord, settings: MethodSettings) -> tuple[Path, list[str]]:
    """Return the folder of the merged model and the files to upload, after comparing them with their records."""
    layout = Layout(study.results_dir)
    folder, record = (Path(path.format(**_place(run))) for path in (layout.merged, layout.merged_record))
    if not settings.can_merge():
        raise ValueError(f"the method {run.method} has no merged model; leave out --merged")
    make = f"run snakemake --cores 1 {record} with the study's --configfile"
    if not (folder.is_dir() and record.is_file()):
        raise ValueError(f"there is no merged model in {folder}; {make}")
    names = check_model(folder, record)
    weights = {
        name: digest
        for name, digest in read_run_record(Path(layout.run_record.format(**_place(run))))["files"].items()
        if name.startswith("weights/")
    }
    if read_json(record).get("made_from", weights) != weights:
        raise ValueError(f"{folder} was merged from other weights than the run has now; {make}")
    return folder, _chosen(names, MODEL)


def _chosen(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    patterns = tuple(patterns)
    return sorted(name for name in names if any(Path(name).match(pattern) for pattern in patterns))


def _metrics(study: Study, run: RunRecord) -> dict[str, float]:
    """The metrics of the weights: those of the last epoch."""
    path = Path(Layout(study.results_dir).history.format(**_place(run)))
    with path.open(newline="", encoding="utf-8") as stream:
        last: Mapping[str, str] = list(csv.DictReader(stream))[-1]
    return {name: float(last[name]) for name in run.data.metrics}


def _notes(run: RunRecord, facts: CardFacts, is_alone: bool) -> list[str]:
    """What the user should know before uploading; `is_alone` says that an adapter names no base model."""
    notes = []
    if is_alone:
        or_base = "" if facts.base_model else ", or say with --base what the hub calls the base model"
        notes.append(f"{who_can_open(run)} Publish the merged model (--merged) instead{or_base}.")
    if not facts.license:
        notes.append("The card names no license: the base model's card names none, and model_card.license is not set.")
    return notes


def format_upload(upload: Upload, endpoint: str) -> str:
    """Return what is uploaded and where to as text."""
    sizes = {file.name: file.stat().st_size for file in sorted(upload.folder.iterdir())}
    width = max(map(len, sizes))
    lines = [f"{upload.title}: to {endpoint}/{upload.repository}", ""]
    lines += [f"  {name:{width}}  {size / 1e3:12,.1f} kB" for name, size in sizes.items()]
    lines += ["", f"The metadata in {CARD}:", "", *(f"  {line}" for line in upload.metadata.splitlines()), ""]
    return "\n".join([*lines, *upload.notes])
