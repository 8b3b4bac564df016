"""report.html: a whole study as one page, from its tables, figures, verdicts and records.

The template, its style and its scripts are page.html, page.css, page.js and names.js in this folder.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lora_core.csv_cells import from_text
from lora_core.data.tasks import task_title
from lora_core.evaluation.answer import read_answer
from lora_core.evaluation.claim_evidence import ClaimRecords, read_evidence
from lora_core.evaluation.frames import read_costs
from lora_core.evaluation.latency_record import LatencyRecord
from lora_core.evaluation.run_record import RunRecord
from lora_core.kept_runs import kept_runs
from lora_core.layout import Layout
from lora_core.reporting.claims_page import qualified
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.kept import KEPT, kept_notes
from lora_core.reporting.page.claim_groups import VERDICTS, ClaimsView
from lora_core.reporting.page.conclusions import runs_conclusion, table_conclusions
from lora_core.reporting.page.cost_curves import cost_curves
from lora_core.reporting.page.overlap_lines import overlap_lines
from lora_core.reporting.page.plot_data import plot_data
from lora_core.reporting.page.provenance import provenance
from lora_core.reporting.page.runs_table import RUN_COLUMNS, read_runs
from lora_core.reporting.page.sections import TRADEOFF, FigureView, drawn_figures, sections
from lora_core.reporting.page.tables import TableView
from lora_core.reporting.table import read_table, write_text
from lora_core.sealed_csv import read_sealed_rows
from lora_core.typed_records import name_damaged_file


@dataclass(frozen=True)
class ReportInputs:
    """The files that the page is made from.

    `collected` is runs.csv; `runs` are the run.json files, `latency_records` the JSON files of the timed passes, in the
    order of `latency`, `kept` the kept.json files. A figure that has `-narrow` at the end of its name is another one's
    for narrow screens.
    """

    tables: Sequence[Path]  # JSON
    figures: Sequence[Path]  # SVG
    claims: Path
    collected: Path
    counts: Path
    differences: Sequence[Path]
    curves: Sequence[Path]
    costs: Sequence[Path]
    runs: Sequence[Path]
    latency: Sequence[Path]
    latency_records: Sequence[Path]
    kept: Sequence[Path] = ()

    @property
    def claim_records(self) -> ClaimRecords:
        """The files that the answer and the claims are made from."""
        return ClaimRecords(self.counts, self.differences, self.latency, self.latency_records, self.runs, self.costs)


def write_report(inputs: ReportInputs, settings: DrawSettings, out: Path) -> None:
    """Write the page. Its links are relative to its folder, which is the results folder.

    Raise ValueError if a table or figure is not in the catalogue.
    """
    runs = read_runs(inputs.collected)
    methods, tasks = (list(dict.fromkeys(values)) for values in ([r.method for r in runs], [r.task for r in runs]))
    labels = {method: settings.label(method) for method in methods}
    tables = [read_table(path) for path in inputs.tables]
    records = [RunRecord.read(path) for path in inputs.runs]
    evidence = read_evidence(inputs.claim_records, settings.references, settings.latency_margin, settings.labels)
    answer = read_answer(evidence)
    costs, figures = read_costs(inputs.costs), drawn_figures(inputs.figures)
    kept = kept_runs(inputs.kept)
    text = _render(
        banner=tables[0].banner if tables else [],
        answer=answer,
        claims=ClaimsView.of(_read_claims(inputs.claims), evidence.seeds),
        sections=sections(
            [TableView.of(table, labels) for table in tables],
            figures,
            answer,
            {"scores": overlap_lines([record.data for record in records])},
            table_conclusions(tables, settings),
            has_energy=bool(costs["train_energy_joules"].notna().any()),
        ),
        runs_conclusion=runs_conclusion(costs),
        tradeoff=FigureView.read(TRADEOFF, figures) if TRADEOFF in figures else None,
        provenance=_provenance(records, inputs.latency_records),
        methods=labels,
        tasks={task: task_title(task) for task in tasks},
        columns=list(RUN_COLUMNS),
        runs=runs,
        kept={(run.method, run.task, str(run.seed)) for run in kept},
        kept_mark=KEPT,
        kept_notes=kept_notes(kept, settings),
        plot=plot_data(evidence, settings),
        curves=cost_curves(inputs.curves, costs, settings.labels),
    )
    write_text(out, text)


def _render(**values: Any) -> str:
    """Fill the template."""
    import jinja2
    from markupsafe import Markup

    def source(suffix: str, name: str = "page") -> str:
        return Path(__file__).with_name(f"{name}.{suffix}").read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        markup=Markup, as_json=as_json, asdict=asdict, link=link, layout=Layout, qualified=qualified
    )
    script = source("js", "names") + source("js")
    # The browser runs this script and no other.
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string(source("html"))
    return template.render(style=source("css"), script=script, script_hash=script_hash, **values)


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
