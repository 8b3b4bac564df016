"""Whether the merged adapter is as fast as full fine-tuning, for every task and timed seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_core.data.tasks import task_title
from lora_core.evaluation.claim_rules import REFUTED, REPRODUCED, UNDECIDED
from lora_core.evaluation.frames import LatencyRun
from lora_core.evaluation.latency_summary import LEVEL, summarize
from lora_core.evaluation.references import References
from lora_core.stats import Equivalence

_VERDICTS = {"equivalent": REPRODUCED, "faster": REPRODUCED, "slower": REFUTED, "undecided": UNDECIDED}


@dataclass(frozen=True)
class MergedLatency:
    """The comparisons by task and seed, and the verdict on each.

    REPRODUCED is not slower; a slower one refutes at a level for the number of comparisons. What was timed on a shared
    device or by a suspended process is undecided, and `reasons` say so.
    """

    compared: Mapping[tuple[str, int], Equivalence] = field(default_factory=dict)
    verdicts: Mapping[tuple[str, int], str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    @property
    def by_task(self) -> dict[str, dict[str, str]]:
        """The verdicts by task and seed."""
        tasks: dict[str, dict[str, str]] = {}
        for (task, seed), verdict in self.verdicts.items():
            tasks.setdefault(task, {})[str(seed)] = verdict
        return tasks


def merged_latency(
    runs: Sequence[LatencyRun], references: References, margin: float, tasks: Sequence[str]
) -> MergedLatency:
    """Compare merged / full fine-tuning by the equivalence test over rounds, on these tasks."""
    runs = [run for run in runs if run.task in tasks]
    compared = _compare(runs, references, margin, LEVEL)
    strict = _compare(runs, references, margin, 1 - (1 - LEVEL) / max(1, len(compared)))
    shared = {(run.task, run.seed) for run in runs if run.record.provenance.shared} & compared.keys()
    suspended = {(run.task, run.seed): run.suspended for run in runs if run.suspended}
    verdicts = {}
    for key, result in compared.items():
        refuted = result.verdict != "slower" or strict[key].verdict == "slower"
        decided = refuted and key not in shared | suspended.keys()
        verdicts[key] = _VERDICTS[result.verdict] if decided else UNDECIDED
    reasons = []
    if shared:
        named = [f"{task_title(task)} seed {seed}" for task, seed in compared if (task, seed) in shared]
        reasons.append(f"shared the device with another process: {', '.join(named)}")
    if stopped := [suspended[run] for run in compared if run in suspended]:
        reasons.append(f"suspended while timed: {', '.join(map(str, stopped))}")
    return MergedLatency(compared, verdicts, tuple(reasons))


def _compare(
    runs: Sequence[LatencyRun], references: References, margin: float, level: float
) -> dict[tuple[str, int], Equivalence]:
    """Return the comparison of the merged adapter with full fine-tuning by task and seed."""
    against = None if references.full is None else (references.full, "plain")
    return {
        (run.task, run.seed): timing.comparison
        for run in runs
        for timing in summarize(run.rows, "pass", margin, against, level)
        if (timing.method, timing.variant) == (references.adapter, "merged") and timing.comparison
    }
