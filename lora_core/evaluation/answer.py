"""What LoRA buys, as one sentence, how sure that is, and the figures behind it.

The page and the terminal show the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.claim_rules import MORE_SEEDS
from lora_core.evaluation.comparison import (
    DECIDED,
    UNDECIDED,
    UNMEASURED,
    Comparison,
    points,
    points_between,
)
from lora_core.evaluation.relative_figures import relative_figures, study_tasks


@dataclass(frozen=True)
class Answer:
    """LoRA compared with full fine-tuning; without comparisons, `reason` says why there are none.

    `adapter` and `full` are the labels of both, as a sentence calls them.
    """

    adapter: str
    full: str
    tasks: Sequence[str]
    seeds: int
    comparisons: Sequence[Comparison] = ()
    reason: str = ""

    @property
    def pair(self) -> str:
        """The labels of both methods, as a list."""
        return f"{self.adapter}, {self.full}"

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        if self.reason:
            return f"{_capital(self.adapter)} and {self.full} cannot be compared here: {self.reason}."
        clauses = [
            _with_remarks(clause, [*one.reasons, one.note] if one.is_difference else [])
            for one in self.comparisons
            if (clause := _clause(one, self.full))
        ]
        took = [_taken(one) for one in self.comparisons if one.name in _TAKEN and one.value is not None]
        study = f"{_count(len(self.tasks), 'task')} with {_count(self.seeds, 'seed')}"
        costs = f"; it took {_listed(took)}" if took else ""
        return f"On {study}, {self.adapter} {_listed(clauses)}{costs}."

    def conclusion(self, name: str) -> str:
        """Return what the study says about one quantity, and how sure that is; empty without a comparison."""
        one = next((one for one in self.comparisons if one.name == name), None)
        if one is None:
            return ""
        if one.value is None:
            return "; ".join(filter(None, [f"{_capital(one.title)} {_be(one)} {one.state_text}", one.note]))
        said = f"took {_taken(one)}" if name in _TAKEN else _clause(one, self.full)
        undecided = one.state_text if one.state == UNDECIDED else ""
        return f"{_capital(self.adapter)} {_with_remarks(said, [undecided, one.note])}"

    @property
    def certainty(self) -> list[str]:
        """How sure that is, and what was not measured: a sentence for each state, listing the quantities."""
        groups: dict[str, list[str]] = {}
        for one in sorted(self.comparisons, key=lambda one: (DECIDED, UNDECIDED, UNMEASURED).index(one.state)):
            head = one.state.capitalize()
            if one.needs == MORE_SEEDS:
                head += f" with {_count(self.seeds, 'seed')} (three seeds decide)"
            elif one.needs:
                head += f" (needs {one.needs})"
            groups.setdefault(head, []).append(one.title)
        return [f"{head}: {', '.join(titles)}." for head, titles in groups.items()]


def read_answer(evidence: Evidence) -> Answer:
    """Compare LoRA with full fine-tuning by a study's records."""
    references = evidence.references
    names = references.names(evidence.labels)
    reason = references.missing("full", "adapter") or ""
    if not reason and not {references.full, references.adapter} <= set(evidence.scores["method"]):
        reason = "not all of their runs are in this study"
    figures = () if reason else relative_figures(evidence)
    return Answer(names["adapter"], names["full"], study_tasks(evidence), evidence.seeds, figures, reason)


# What training or a pass takes, as the sentence calls it.
_TAKEN = {
    "epoch_time": "the time per epoch",
    "time": "the time to equal accuracy",
    "energy": "the energy to equal accuracy",
    "latency": "the inference time once merged",
}


def _taken(one: Comparison) -> str:
    return f"{_share(one)} {_TAKEN[one.name]}{_bounds(one)}"


def _clause(one: Comparison, full: str) -> str:
    """A figure as a part of the sentence; empty if it was not measured, or is among what something takes."""
    if one.value is None:
        return ""
    if one.name == "parameters":
        return f"trained {one.text} of the parameters"
    if one.name == "memory":
        return f"used {_share(one)} the GPU memory{_bounds(one)}"
    if one.name == "score":
        shown = points(abs(one.value)).lstrip("+")
        if float(shown) == 0:
            return f"scored the same as {full}{_bounds(one)}"
        return f"scored {shown} points {'lower' if one.value < 0 else 'higher'} than {full}{_bounds(one)}"
    return ""


def _share(one: Comparison) -> str:
    """A ratio and the word after it."""
    return f"{one.text} {'times' if one.value is not None and one.value > 1 else 'of'}"


def _be(one: Comparison) -> str:
    return "was" if one.state == UNMEASURED else "is"


def _bounds(one: Comparison) -> str:
    """The 95 % interval over seeds in words; that of latency is over rounds, and of another level."""
    if one.low is None or one.high is None or one.name == "latency":
        return ""
    if one.is_difference:
        return f" (95 % interval: {points_between(one.low, one.high)})"
    return f" ({one.interval_text[1:-1].replace(', ', ' to ')})"


def _with_remarks(said: str, remarks: Sequence[str]) -> str:
    """Add remarks in brackets, to those that the text ends with if it does."""
    text = "; ".join(filter(None, remarks))
    if not text:
        return said
    return f"{said[:-1]}; {text})" if said.endswith(")") else f"{said} ({text})"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
