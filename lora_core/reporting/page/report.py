"""report.html: a whole study as one page, from its tables, figures, verdicts and records.

The template, its style and its script are page.html, page.css and page.js in this folder.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lora_core.csv_cells import from_text
from lora_core.data.tasks import task_title
from lora_core.evaluation.claim_rules import REFUTED, REPRODUCED, UNDECIDED, UNMEASURED
from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.frames import read_costs, run_names
from lora_core.evaluation.latency_record import LatencyRecord
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import Layout
from lora_core.reporting import catalogue
from lora_core.reporting.claims_page import qualified
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.page.cost_curves import cost_curves
from lora_core.reporting.page.figure_svg import read_svg
from lora_core.reporting.page.runs_table import RUN_COLUMNS, read_runs
from lora_core.reporting.page.summary import provenance, summary
from lora_core.reporting.page.tables import TableView
from lora_core.reporting.table import read_table, write_text
from lora_core.sealed_csv import read_sealed_rows
from lora_core.typed_records import name_damaged_file

VERDICTS = (REPRODUCED, REFUTED, UNDECIDED, UNMEASURED)


@dataclass(frozen=True)
class ReportInputs:
    """The files that the page is made from.

    `collected` is runs.csv; `runs` are the run.json files, `latency_records` the JSON files of the timed passes.
    """

    tables: Sequence[Path]  # JSON
    figures: Sequence[Path]  # SVG
    claims: Path
    collected: Path
    counts: Path
    curves: Sequence[Path]
    costs: Sequence[Path]
    runs: Sequence[Path]
    latency_records: Sequence[Path]


@dataclass(frozen=True)
class FigureView:
    """A figure in the page."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class SectionView:
    """A section of the page. `measured_by` names the records whose provenance it prints."""

    name: str
    title: str
    measured_by: str
    tables: list[TableView]
    figures: list[FigureView]


def write_report(inputs: ReportInputs, settings: DrawSettings, out: Path) -> None:
    """Write the page. Its links are relative to its folder, which is the results folder.

    Raise ValueError if a table or figure is not in the catalogue.
    """
    runs = read_runs(inputs.collected)
    methods, tasks = (list(dict.fromkeys(values)) for values in ([r.method for r in runs], [r.task for r in runs]))
    tables = [read_table(path) for path in inputs.tables]
    records = [RunRecord.read(path) for path in inputs.runs]
    claims = _read_claims(inputs.claims)
    costs = read_costs(inputs.costs)
    disturbed = list(run_names(costs[costs["disturbed"]]))
    devices = {record.device for record in records}
    text = _render(
        banner=tables[0].banner if tables else [],
        summary=summary(runs, read_counts(inputs.counts), devices, settings.references, disturbed),
        claims=sorted(claims, key=lambda claim: VERDICTS.index(claim["verdict"])),
        verdicts={verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in VERDICTS},
        sections=_sections([TableView.of(table, methods) for table in tables], inputs.figures),
        provenance=_provenance(records, inputs.latency_records),
        methods=methods,
        tasks={task: task_title(task) for task in tasks},
        columns=list(RUN_COLUMNS),
        runs=runs,
        curves=cost_curves(inputs.curves, costs),
    )
    write_text(out, text)


def _render(**values: Any) -> str:
    """Fill the template."""
    import jinja2
    from markupsafe import Markup

    def source(suffix: str) -> str:
        return Path(__file__).with_name(f"page.{suffix}").read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(markup=Markup, as_json=as_json, link=link, layout=Layout, qualified=qualified)
    script = source("js")
    # The browser runs this script and no other.
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string(source("html"))
    return template.render(style=source("css"), script=script, script_hash=script_hash, **values)


def _sections(tables: Sequence[TableView], figures: Sequence[Path]) -> list[SectionView]:
    """Arrange tables and figures by the catalogue: those that there are, and the sections that have one."""
    views = {view.name: view for view in tables}
    drawn = {path.stem: path for path in figures}
    for names, entry in ((views, catalogue.table), (drawn, catalogue.figure)):
        for name in names:
            entry(name)  # an unknown name is an error
    sections = []
    for key, section in catalogue.SECTIONS.items():
        section_tables = [views[t.name] for t in catalogue.TABLES.values() if t.section == key and t.name in views]
        section_figures = [
            FigureView(figure.name, figure.title, read_svg(drawn[figure.name]))
            for figure in catalogue.FIGURES.values()
            if figure.section == key and figure.name in drawn
        ]
        if section_tables or section_figures:
            sections.append(SectionView(key, section.title, section.measured_by, section_tables, section_figures))
    return sections


def _provenance(runs: Sequence[RunRecord], latency_records: Sequence[Path]) -> Mapping[str, Mapping[str, str]]:
    """Where the runs and the timings come from, by the names that sections use."""
    return {
        "runs": provenance(run.provenance for run in runs),
        "latency": provenance(LatencyRecord.read(path).provenance for path in latency_records),
    }


def _read_claims(path: Path) -> list[dict[str, str]]:
    with name_damaged_file(path):
        header, *rows = read_sealed_rows(path)
        claims = [dict(zip(header, map(from_text, row), strict=True)) for row in rows]
        if not claims or any(claim["verdict"] not in VERDICTS for claim in claims):
            raise ValueError("it has no verdicts")
    return claims


def link(pattern: str, suffix: str = "", **wildcards: Any) -> str:
    """Return the relative address of a file: a pattern of `Layout`, its wildcards filled and quoted."""
    return pattern.format(**{name: quote(str(value), safe="") for name, value in wildcards.items()}) + suffix


def as_json(value: Any) -> str:
    """Return JSON for a script element: nothing in it ends the element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
