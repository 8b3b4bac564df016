"""The study that a command works on: config.yaml of the working directory with the files of `--configfile` over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.config import study as configuration
from lora_core.config.config_file import check_arguments, read_config_files
from lora_core.config.study import Study
from lora_core.records import JsonObject
from lora_core.reporting import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = "config.yaml"
NULLS = ("null", "Null", "NULL", "~")  # as YAML writes it


def load_study(
    config: Mapping[str, Any],
    overlay: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Study:
    """Return the study of a merged configuration.

    `overlay` is the part of it that came from the command line, by `--configfile` and `--config`, and `options` that by
    `--config` alone. Raise ValueError with every error in it.
    """
    config, overlay = _restore_nulls(config, options), _restore_nulls(overlay, options)
    missing = [name for name, field in Study.model_fields.items() if field.is_required() and name not in config]
    if len(missing) > 1 and not Path("config.yaml").exists():
        raise ValueError(
            f"the configuration lacks {', '.join(missing)}, and {Path.cwd()} has no config.yaml that would set them: "
            "run the command in the folder of the workflow, or name a whole configuration with --configfile"
        )
    return configuration.load(config, overlay, optional_tables=catalogue.OPTIONAL_TABLES)


def _restore_nulls(merged: Any, given: Any) -> Any:
    """Return a configuration with None where `--config` gave null, which Snakemake reads as a text."""
    if isinstance(merged, dict) and isinstance(given, dict):
        return {name: _restore_nulls(value, given.get(name)) for name, value in merged.items()}
    if isinstance(merged, list) and isinstance(given, list):
        return [_restore_nulls(*pair) for pair in zip(merged, given, strict=True)] if merged == given else merged
    return None if merged == given and given in NULLS else merged


def read_study(overlays: Sequence[str] = ()) -> Study:
    """Return the study of config.yaml with `overlays` merged into it as Snakemake merges them.

    Raise ValueError with every error in it, and OSError if a file is missing.
    """
    from snakemake.utils import update_config

    has_default = os.path.lexists(DEFAULT) or not overlays
    contents = read_config_files([*([DEFAULT] if has_default else []), *overlays])
    config = contents.pop(0) if has_default else {}
    overlay: JsonObject = {}
    for content in contents:
        update_config(overlay, content)
    update_config(config, overlay)
    return load_study(config, overlay)


def grid_of(results: Path, overlays: Sequence[str] = ()) -> float | None:
    """Return the carbon intensity, in grams per kWh, that the configuration of a results folder gives.

    None if it gives none, or if the working directory has no configuration of these results and `overlays` name none.
    Raise ValueError if `overlays` name the configuration of other results.
    """
    try:
        study = read_study(overlays)
        if Path(study.results_dir).resolve() != results.resolve():
            raise ValueError(
                f"{results} does not belong to this configuration, whose results are in {study.results_dir}; name the "
                "configuration of its study with --configfile"
            )
    except (ValueError, FileNotFoundError):
        if overlays:
            raise
        return None
    return study.model_card.grid_co2_grams_per_kwh


def check_config_files(overlays: Sequence[str | Path], arguments: Sequence[str] = ()) -> None:
    """Refuse files, and `arguments` of `--config`, that Snakemake would read otherwise than they are meant.

    Raise ValueError with every error.
    """
    check_arguments(arguments)
    default = [DEFAULT] if os.path.lexists(DEFAULT) else []
    try:
        read_config_files([*default, *(os.path.relpath(file) for file in overlays)])
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
