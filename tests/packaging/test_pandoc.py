"""Tables in pandoc, which turns LaTeX into HTML and Word, and is what Quarto uses."""

import json
import re

import pytest
from builders import FFT, MERGED, UNMERGED, Made, draw_table, latency_inputs, timed, write_counts
from other_tools import run_python

from lora_core.reporting.inputs import Setting
from lora_core.reporting.latex import latex
from lora_core.reporting.latex_layout import fit

pytestmark = pytest.mark.packaging

CONVERT = """
import json, sys, pypandoc
print(json.dumps([pypandoc.convert_file(file, "html", format="latex") for file in sys.argv[1:]]))
"""
NAMES = [f"table{number}" for number in range(1, 8)]


def made_tables(folder):
    """The seven tables of a study with intervals, bounds and hyperparameters with long names."""
    tasks = ("cola", "rte")
    made = Made(folder, energy=5000.0, tasks=tasks)
    times = {FFT: [0.5, 0.6, 0.5], MERGED: [0.5, 0.7, 0.6], UNMERGED: [0.6, 0.7, 0.8]}
    files = made.inputs | latency_inputs(*(timed(folder / "timed", times, task) for task in tasks))
    write_counts(folder / "counts.json", {"fft": 10, "lora": 3})
    long_value = Setting("encoder.layer.0.attention.self.query, encoder.layer.1.attention.self.value", "a source")
    settings = {
        "table5": {"methods": ("fft",)}, "table6": {"methods": ("lora",)}, "table3": {"latency_margin": 0.03},
        "table7": {"hyperparameters": {m: {"cola": {"targets": long_value}} for m in ("fft", "lora")}},
    }  # fmt: skip
    return [draw_table(name, files, **settings.get(name, {})) for name in NAMES]


def test_pandoc_shows_every_table_with_its_caption_and_every_figure(peers, tmp_path):
    tables = made_tables(tmp_path)
    files = [tmp_path / f"{name}.tex" for name in NAMES]
    for file, table in zip(files, tables, strict=True):
        file.write_text(latex(table))
    python = peers("pypandoc-binary==1.17")
    pages = json.loads(run_python(python, CONVERT, *files, folder=tmp_path))
    for table, page in zip(tables, pages, strict=True):
        grids = [table.grid(), *filter(None, [table.published_grid()])]
        assert page.count("<table") == sum(len(list(fit(grid))) for grid in grids), table.name
        assert f"<caption>{table.title}" in page
        text = " ".join(re.sub("<[^>]*>", "", page).replace("\N{NO-BREAK SPACE}", " ").replace("&amp;", "&").split())
        for grid in grids:
            missing = [cell for line in grid.lines for cell in line if " ".join(cell.split()) not in text]
            assert not missing, table.name
