"""The study that a command works on: config.yaml of the working directory with the files of `--configfile` over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lora_core.config import study as configuration
from lora_core.records import JsonObject
from lora_core.reporting import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lora_core.config.study import Study


def load_study(config: Mapping[str, Any], overlay: Mapping[str, Any] | None = None) -> Study:
    """Return the study of a merged configuration; `overlay` is the part of it that came from the command line.

    Raise ValueError with every error in it.
    """
    return configuration.load(config, overlay, optional_tables=catalogue.OPTIONAL_TABLES)


def read_study(overlays: Sequence[str] = ()) -> Study:
    """Return the study of config.yaml with `overlays` merged into it as Snakemake merges them.

    Raise ValueError with every error in it, and OSError if a file is missing.
    """
    from snakemake.utils import update_config

    config = _read_yaml("config.yaml")
    overlay: JsonObject = {}
    for file in overlays:
        update_config(overlay, _read_yaml(file))
    update_config(config, overlay)
    return load_study(config, overlay)


def _read_yaml(file: str) -> JsonObject:
    """Raise ValueError if a file is not a YAML mapping."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected keys and values, as in config.yaml")
    return content
