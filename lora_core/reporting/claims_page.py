"""The verdicts on the paper's claims as Markdown and CSV."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lora_core.config.description import StudyDescription
from lora_core.evaluation.claim_rules import UNDECIDED, UNMEASURED, Verdict
from lora_core.evaluation.latency_summary import LEVEL
from lora_core.reporting.markdown import markdown_text
from lora_core.reporting.table import NA, write_text
from lora_core.sealed_csv import write_sealed_csv
from lora_core.stats import MIN_SEEDS

# Columns of both files, and their titles in the Markdown table. The CSV file also has `qualification`, which stands in
# brackets after the verdict in the Markdown table, `rule`, what an open claim `needs`, and the description of the study
# as `remark`.
COLUMNS = {
    "claim": "claim",
    "published": "published",
    "ours": "this study",
    "interval": "95 % interval",
    "detectable": "smallest detectable effect",
    "verdict": "verdict",
}


def write_claims(
    verdicts: Sequence[Verdict], study: StudyDescription, md: Path, csv: Path, notes: Sequence[str] = ()
) -> None:
    """Write the verdicts as Markdown and as CSV, with notes about the runs that they are judged by."""
    rows = [_row(verdict, study) for verdict in verdicts]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "qualification", "rule", "needs"]).assign(
        remark=" ".join([*study.banner(), *notes])
    )
    write_sealed_csv(csv, table)
    judged = sum(verdict.verdict != UNMEASURED for verdict in verdicts)
    note = (
        f"{judged} of {len(verdicts)} claims were judged, each separately. Intervals are 95 %: of twenty true "
        "comparisons, one is expected to miss. A single task refutes a claim about every task, so for that the error "
        "is divided by the number of tasks (Bonferroni); it is reproduced if every 95 % interval agrees. Latency has a "
        f"{100 * LEVEL:g} % interval, because it is examined while rounds are added. With fewer than {MIN_SEEDS} "
        "seeds, nothing that varies over seeds is decided."
    )
    lines = ["# The paper's claims", "", *map(markdown_text, study.banner()), ""]
    lines += [f"| {' | '.join(COLUMNS.values())} |", "|" + " --- |" * len(COLUMNS)]
    shown = [row | {"verdict": qualified(row["verdict"], row["qualification"])} for row in rows]
    lines += ["| " + " | ".join(markdown_text(row[name]) for name in COLUMNS) + " |" for row in shown]
    lines += ["", note, "", *(line for text in notes for line in (markdown_text(text), "")), "## The rules", ""]
    lines += [f"- **{markdown_text(v.claim.title)}**: {markdown_text(v.claim.rule)}." for v in verdicts]
    write_text(md, "\n".join(lines) + "\n")


def qualified(verdict: str, qualification: str) -> str:
    """Return a verdict as it is shown to people, with its qualification in brackets."""
    return f"{verdict} ({qualification})" if qualification else verdict


def _row(verdict: Verdict, study: StudyDescription) -> dict[str, str]:
    """One row of the CSV file; a verdict is qualified by what differs from the paper's study."""
    return {
        "claim": verdict.claim.title,
        "published": verdict.claim.published,
        "ours": (verdict.ours or NA) + (f" ({verdict.reason})" if verdict.reason else ""),
        "interval": verdict.interval or NA,
        "detectable": verdict.detectable or NA,
        "verdict": verdict.verdict,
        "qualification": "" if verdict.verdict == UNMEASURED else study.qualification,
        "rule": verdict.claim.rule,
        "needs": verdict.needs if verdict.verdict in (UNDECIDED, UNMEASURED) else "",
    }
