"""The formats that `lora-core export` writes: `lora_core.reporting.exports` has a module for each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from lora_core.atomic_files import atomic_folder
from lora_core.config.results_folder import obstacle
from lora_core.nearest import nearest
from lora_core.reporting.exports.runs import read_runs


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        module: Its module, with the function `write`.
        package: The package that writes it, an extra of pyproject.toml by the same name; None if none is needed.
        reader: The command that opens the folder.
    """

    module: str
    package: str | None
    reader: str


FORMATS = {
    "tensorboard": Format("tensorboard", "tensorboard", "tensorboard --logdir {folder}"),
    "mlflow": Format("mlflow", "mlflow", "mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db"),
    "codecarbon": Format("codecarbon", "codecarbon", "carbonboard --filepath {folder}/emissions.csv"),
    "peft-benchmark": Format("peft_benchmark", None, "method_comparison/processing.py in PEFT's repository"),
}


def export(results: Path, name: str, folder: Path, grid_co2_grams_per_kwh: float | None = None) -> Format:
    """Write the records of a results folder in a format into a new folder, and return the format.

    The carbon intensity of the electricity is for CodeCarbon alone.

    Raise ValueError for an unknown format, a folder that is not empty, a package that is missing, or records that are
    missing or damaged; nothing is written then.
    """
    if name not in FORMATS:
        raise ValueError(f"--to: {name!r} is no format{nearest(name, FORMATS)}")
    if reason := obstacle(folder):
        raise ValueError(reason)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    chosen = FORMATS[name]
    runs = list(read_runs(results, grid_co2_grams_per_kwh))
    with atomic_folder(folder.resolve()) as temporary:
        try:
            import_module(f"{__package__}.{chosen.module}").write(runs, temporary)
        except ModuleNotFoundError as error:
            if chosen.package is None:
                raise
            raise ValueError(
                f"--to {name} needs the package {chosen.package} ({error}): install it with `pip install "
                f"{chosen.package}`"
            ) from error
    return chosen
