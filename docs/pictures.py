"""Draws the figures of docs/ that are named here, from the records in docs/records (`make pictures`)."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lora_core.evaluation.references import References  # noqa: E402
from lora_core.layout import Layout  # noqa: E402
from lora_core.reporting import catalogue  # noqa: E402
from lora_core.reporting.figures.style import save  # noqa: E402
from lora_core.reporting.inputs import DrawSettings  # noqa: E402

EMBEDDED = Layout(str(ROOT / "docs/records/embedded"))  # config.yaml
EXTENDED_GLUE = Layout(str(ROOT / "docs/records/extended-glue"))  # config/extended-glue.yaml
SETTINGS = DrawSettings(references=References(full="fft", adapter="lora", library="lora_ref"))


def of_runs(pattern: str) -> list[Path]:
    """The files of the runs of LoRA and loralib."""
    runs = [(task, method) for task in ("cola", "rte", "stsb") for method in ("lora", "lora_ref")]
    return [Path(pattern.format(task=task, method=method, seed=1)) for task, method in runs]


# Figures of the catalogue with the records that each is drawn from.
FIGURES = {
    "scores": {"scores": [Path(EXTENDED_GLUE.scores.format(task=task)) for task in ("cola", "stsb")]},
    "loss_curves": {"loss_runs": of_runs(EMBEDDED.run_record), "loss_predictions": of_runs(EMBEDDED.predictions)},
}


def draw(name: str, svg: Path) -> None:
    """Write a figure."""
    figure, frame = catalogue.figure(name).function()(FIGURES[name], SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        save(figure, frame, svg, Path(folder) / "frame.csv")


if __name__ == "__main__":
    for name in FIGURES:
        draw(name, ROOT / f"docs/{name}.svg")
