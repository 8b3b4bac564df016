"""Tables, figures and the page in programs that read or print them: polars, duckdb, svglib and WeasyPrint."""

import json
from pathlib import Path

import pytest
from builders import Made, draw_figure
from other_tools import run_python

from lora_core.evaluation.collect_runs import collect_runs
from lora_core.reporting import page
from lora_core.reporting.page.runs_table import RUN_COLUMNS

pytestmark = pytest.mark.packaging

READ = """
import json, sys
import duckdb, polars
table = polars.read_csv(sys.argv[1])
best = table.filter(polars.col("quantity") == "score.best")["value"].to_list()
query = f"SELECT avg(value), max(text) FROM read_csv('{sys.argv[1]}') WHERE quantity IN ('score.best', 'score.metric')"
print(json.dumps([str(table.schema["value"]), best, duckdb.sql(query).fetchall()[0]]))
"""


def test_polars_and_duckdb_compute_with_the_values_of_runs_csv(peers, tmp_path):
    made = Made(tmp_path)
    collect_runs(made.runs, tmp_path / "runs.csv")
    python = peers("polars==2.1.0", "polars-runtime-32==2.1.0", "duckdb==2.0.0")
    kind, best, (mean, text) = json.loads(run_python(python, READ, tmp_path / "runs.csv", folder=tmp_path))
    assert kind == "Float64"
    assert len(best) == len(made.runs)
    assert mean == pytest.approx(sum(best) / len(best))
    assert text


DRAW = """
import sys
from svglib.svglib import svg2rlg

def shapes(shape):
    yield shape
    for inner in getattr(shape, "contents", []):
        yield from shapes(inner)

def counted(attribute, kind):
    colors = [getattr(shape, attribute) for shape in shapes(svg2rlg(sys.argv[1])) if type(shape).__name__ == kind]
    return sum(color is not None and color.hexval() == "0x1a1a1a" for color in colors), len(colors)

print(counted("strokeColor", "Path")[0], *counted("fillColor", "String"))
"""


def test_svglib_draws_the_axes_and_the_texts_of_a_figure_in_ink(peers, tmp_path):
    figure = draw_figure("scores", Made(tmp_path).inputs, tmp_path)
    python = peers(
        "svglib==2.3.2", "reportlab==5.1.0", "lxml==6.1.3", "tinycss2==1.5.1", "cssselect2==0.10.1",
        "webencodings==0.6.1",
    )  # fmt: skip
    lines, dark_texts, texts = map(int, run_python(python, DRAW, figure, folder=tmp_path).split())
    assert lines > 0
    assert dark_texts == texts > 0


PRINT = """
import sys
from weasyprint import HTML

def boxes(box):
    yield box
    for inner in getattr(box, "children", []):
        yield from boxes(inner)

seen = 0
for page in HTML(sys.argv[1]).render().pages:
    edge = page._page_box.content_box_x() + page._page_box.width
    for box in boxes(page._page_box):
        if type(box).__name__ == "TableCellBox":
            seen += 1
            assert box.border_box_x() + box.border_width() <= edge + 1, "".join(box.element.itertext())
print(seen)
"""


def test_weasyprint_cuts_no_column_of_the_runs_table_on_a4(peers, tmp_path):
    columns = ["method", "task", "seed", *RUN_COLUMNS, "record"]
    head = "".join(f"<th><button>{name}</button></th>" for name in columns)
    cells = ["Full fine-tuning", "MNLI-m/mm", "1", *["12,345.6"] * len(RUN_COLUMNS), "<a>run.json</a>"]
    row = f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    style = (Path(page.__file__).parent / "page.css").read_text()
    table = f'<table id="runs-table"><thead><tr>{head}</tr></thead><tbody>{row}</tbody></table>'
    (tmp_path / "runs.html").write_text(f"<style>{style}</style><main><section>{table}</section></main>")
    python = peers(
        "weasyprint==70.0", "pydyf==0.13.0", "pyphen==0.18.1", "tinyhtml5==2.1.0", "tinycss2==1.5.1",
        "cssselect2==0.10.1", "webencodings==0.6.1", "cffi==2.1.1", "pycparser==3.12", "brotli==1.2.1", "zopfli==0.4.3",
    )  # fmt: skip
    assert int(run_python(python, PRINT, tmp_path / "runs.html", folder=tmp_path)) == 2 * len(columns)
