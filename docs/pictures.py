"""Draws figures of docs/ and writes tables of its pages, from the records in docs/records (`make pictures`).

With the name of a report, it takes the picture of the report instead: `python docs/pictures.py results/report.html`.
"""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import regimes  # noqa: E402
import results_gpu  # noqa: E402

from lora_core.code_digest import read_source  # noqa: E402
from lora_core.commands.studies import read_study  # noqa: E402
from lora_core.evaluation.references import References  # noqa: E402
from lora_core.layout import Layout  # noqa: E402
from lora_core.reporting import catalogue  # noqa: E402
from lora_core.reporting.figures.svg import Drawing, save_svg  # noqa: E402
from lora_core.reporting.inputs import DrawSettings, Inputs  # noqa: E402

EMBEDDED = Layout(str(ROOT / "docs/records/embedded"))  # config.yaml
EXTENDED_GLUE = Layout(str(ROOT / "docs/records/extended-glue"))  # config/extended-glue.yaml
REFERENCES = References(full="fft", adapter="lora", library="lora_ref")


def of_runs(pattern: str) -> list[Path]:
    """The files of the runs of LoRA and loralib."""
    runs = [(task, method) for task in ("cola", "rte", "stsb") for method in ("lora", "lora_ref")]
    return [Path(pattern.format(task=task, method=method, seed=1)) for task, method in runs]


def of_catalogue(name: str, inputs: Inputs, *configuration: str) -> Drawing:
    """Draw a figure of the catalogue, with the labels of the study of a configuration."""
    study = read_study([str(ROOT / file) for file in ("config.yaml", *configuration)])
    settings = DrawSettings(references=REFERENCES, labels=study.labels)
    drawing: Drawing = catalogue.figure(name).function()(inputs, settings)
    return drawing


FIGURES: dict[str, Callable[[], Drawing]] = {
    "scores": partial(
        of_catalogue,
        "scores",
        {"scores": [Path(EXTENDED_GLUE.scores.format(task=task)) for task in ("cola", "stsb")]},
        "config/extended-glue.yaml",
    ),
    "loss_curves": partial(
        of_catalogue,
        "loss_curves",
        {"loss_runs": of_runs(EMBEDDED.run_record), "loss_predictions": of_runs(EMBEDDED.predictions)},
    ),
    "regimes": regimes.draw,
}
# Pages with tables that are written from records.
PAGES = {"results-gpu": results_gpu.tables, "regimes": regimes.tables}


def draw(name: str, svg: Path) -> None:
    """Write a figure."""
    figure, _ = FIGURES[name]()
    save_svg(figure, svg)


def page_with_tables(name: str) -> str:
    """Return a page of docs/ with its tables as the records have them."""
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    return results_gpu.write_tables(page, PAGES[name]())


def page_digest() -> str:
    """Return a digest of what decides how the beginning of a report looks and what it says."""
    page = ROOT / "lora_core/reporting/page"
    digest = hashlib.sha256()
    for name in ("page.html", "page.css", "names.js", "page.js"):
        digest.update((page / name).read_bytes())
    for name in ("answer", "comparison", "relative_figures"):  # of a module, its code without comments
        digest.update(read_source((ROOT / f"lora_core/evaluation/{name}.py").read_bytes()).code.encode())
    return digest.hexdigest()


def photograph(report: Path, png: Path) -> None:
    """Write a picture of the beginning of a report, by chromium, and next to it the digest of the page's code."""
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,850", f"--screenshot={png}"]
    subprocess.run(["chromium", *options, report.resolve().as_uri()], check=True, capture_output=True)
    png.with_suffix(".digest").write_text(f"{page_digest()}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        photograph(Path(sys.argv[1]), ROOT / "docs/report.png")
        sys.exit()
    for name in FIGURES:
        draw(name, ROOT / f"docs/{name}.svg")
    for name in PAGES:
        (ROOT / f"docs/{name}.md").write_text(page_with_tables(name), encoding="utf-8")
