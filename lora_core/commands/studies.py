"""The study that a command works on: config.yaml of the working directory with the files of `--configfile` over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.config import study as configuration
from lora_core.config.study import Study
from lora_core.records import JsonObject
from lora_core.reporting import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def load_study(config: Mapping[str, Any], overlay: Mapping[str, Any] | None = None) -> Study:
    """Return the study of a merged configuration; `overlay` is the part of it that came from the command line.

    Raise ValueError with every error in it.
    """
    missing = [name for name, field in Study.model_fields.items() if field.is_required() and name not in config]
    if len(missing) > 1 and not Path("config.yaml").exists():
        raise ValueError(
            f"the configuration lacks {', '.join(missing)}, and {Path.cwd()} has no config.yaml that would set them: "
            "run the command in the folder of the workflow, or name a whole configuration with --configfile"
        )
    return configuration.load(config, overlay, optional_tables=catalogue.OPTIONAL_TABLES)


def read_study(overlays: Sequence[str] = ()) -> Study:
    """Return the study of config.yaml with `overlays` merged into it as Snakemake merges them.

    Raise ValueError with every error in it, and OSError if a file is missing.
    """
    from snakemake.utils import update_config

    config = _read_file("config.yaml") if Path("config.yaml").exists() or not overlays else {}
    overlay: JsonObject = {}
    for file in overlays:
        update_config(overlay, _read_file(file))
    update_config(config, overlay)
    return load_study(config, overlay)


def _read_file(file: str) -> JsonObject:
    """Read a file as Snakemake does: as JSON, else as YAML. Raise ValueError if it is neither, or has no keys."""
    from snakemake.common.configfile import load_configfile
    from snakemake_interface_common.exceptions import WorkflowError

    Path(file).stat()  # an OSError names a missing file
    try:
        return load_configfile(file)
    except (WorkflowError, UnicodeDecodeError) as error:
        if error.__context__ is None:
            raise ValueError(f"{file}: expected keys and values, as in config.yaml") from None
        raise ValueError(f"{file}: not valid YAML or JSON ({' '.join(str(error.__context__).split())})") from None
