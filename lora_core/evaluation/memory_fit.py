"""Whether the batches of a study fit into memory (memory/{task}.json): the predictions, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_core.layout import Layout, place, wildcards
from lora_core.measuring.memory_limit import MemoryLimit
from lora_core.nearest import MAX_DESCRIBED
from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.typed_records import fill, name_damaged_file


@dataclass(frozen=True)
class PeakError:
    """Between which bounds a measured peak lies: a factor of the prediction, and MB that the process takes besides."""

    low: float
    high: float
    least_mb: float
    most_mb: float


# Of the allocator's peak in 15 runs on an H200 (factors of 0.90 to 1.22), and the CUDA context. On a CPU, six runs of
# the embedded study took 930 to 1,010 MB with torch and transformers, where the parts are 110 MB; the rest is a guess.
PEAK_ERRORS = {"cuda": PeakError(0.85, 1.3, 400, 1000), "cpu": PeakError(0.85, 1.5, 500, 1200)}
_NEEDS_LESS = "use a smaller model, a smaller data.max_length, or more memory"


@dataclass(frozen=True)
class Prediction:
    """The memory in MB (10^6 bytes) of a method's largest batch on a task.

    Attributes:
        rows: Examples that are computed at once: of a batch, or of a micro-batch.
        tokens: The length to which they are padded.
        state_mb: Weights, gradients and optimizer state.
        saved_mb: What autograd saves for the backward pass of these rows.
        checkpointed_mb: The same with gradient checkpointing; None if the run has that, or the architecture cannot.
    """

    rows: int
    tokens: int
    state_mb: float
    saved_mb: float
    checkpointed_mb: float | None

    def peak_mb(self, kind: str, rows: int | None = None, checkpointing: bool = False) -> tuple[float, float]:
        """Return the bounds of the peak on "cpu" or "cuda", also of fewer rows, or with gradient checkpointing."""
        saved = self.checkpointed_mb if checkpointing and self.checkpointed_mb is not None else self.saved_mb
        needed = self.state_mb + saved * (self.rows if rows is None else rows) / self.rows
        error = PEAK_ERRORS[kind]
        return error.low * needed + error.least_mb, error.high * needed + error.most_mb

    def largest_rows(self, limit: MemoryLimit, checkpointing: bool = False) -> int:
        """Return how many of the rows surely fit; 0 if not even one does."""
        fitting = (n for n in range(self.rows, 0, -1) if self.peak_mb(limit.kind, n, checkpointing)[1] <= limit.mb)
        return next(fitting, 0)


@dataclass(frozen=True)
class Fit:
    """What does not fit, and what may not, as sentences."""

    refusals: list[str]
    warnings: list[str]

    def check(self) -> None:
        """Raise ValueError if something does not fit."""
        if self.refusals:
            more = len(self.refusals) - MAX_DESCRIBED
            described = self.refusals[:MAX_DESCRIBED] + ([f"and {more} more do not fit"] if more > 0 else [])
            raise ValueError(".\n".join(described))


def fit(predictions: Mapping[tuple[str, str], Prediction], limit: MemoryLimit | None) -> Fit:
    """Compare the predictions by method and task with a limit; without one nothing is known."""
    result = Fit([], [])
    if limit is None:
        return result
    for (method, task), prediction in predictions.items():
        low, high = prediction.peak_mb(limit.kind)
        if low > limit.mb:
            result.refusals.append(f"{_need(method, task, prediction, limit)}; {_remedies(prediction, limit)}")
        elif high > limit.mb:
            result.warnings.append(f"{_need(method, task, prediction, limit)} and may not fit; if it does not, "
                                   f"{_remedies(prediction, limit)}")  # fmt: skip
    return result


def _need(method: str, task: str, prediction: Prediction, limit: MemoryLimit) -> str:
    low, high = prediction.peak_mb(limit.kind)
    return (
        f"{method} on {task} needs {low:,.0f} to {high:,.0f} MB for {prediction.rows} × {prediction.tokens} tokens at "
        f"once, and {limit.name} has {limit.mb:,.0f} MB"
    )


def _remedies(prediction: Prediction, limit: MemoryLimit) -> str:
    """The settings with which it fits: smaller micro-batches, gradient checkpointing, or both."""
    remedies = []
    if rows := prediction.largest_rows(limit):
        remedies.append(f"micro_batch_size: {rows}")
    if prediction.checkpointed_mb is not None and (rows := prediction.largest_rows(limit, checkpointing=True)):
        both = f", micro_batch_size: {rows}" if rows < prediction.rows else ""
        remedies.append(f"gradient_checkpointing: true{both}")
    return _settings(remedies) if remedies else _last_remedies(prediction, limit)


def _last_remedies(prediction: Prediction, limit: MemoryLimit) -> str:
    """What helps where no setting surely makes it fit: those with which one example may fit, if it may."""
    remedies = []
    if prediction.rows > 1 and prediction.peak_mb(limit.kind, 1)[0] <= limit.mb:
        remedies.append("micro_batch_size: 1")
    if prediction.checkpointed_mb is not None and prediction.peak_mb(limit.kind, 1, True)[0] <= limit.mb:
        remedies.append("gradient_checkpointing: true" + (", micro_batch_size: 1" if prediction.rows > 1 else ""))
    if not remedies:
        return f"not even one example fits, so {_NEEDS_LESS}" if prediction.rows > 1 else _NEEDS_LESS
    return f"{_settings(remedies)}, which may fit, or {_NEEDS_LESS}"


def remedies_after_failure(path: Path, method: str) -> str | None:
    """Return the settings with which a run needs less memory than the one that ran out of it.

    `path` is memory/{task}.json. Whether the rows fit by the prediction does not count: half of them are proposed, or
    fewer if only those surely fit. None if nothing is predicted for this method.
    """
    try:
        content = read_json(path)
        prediction = fill(Prediction, content["methods"][method])
        limit = MemoryLimit(content["kind"], float(content["limit_mb"]), "") if content.get("limit_mb") else None
        return _less_than_failed(prediction, limit)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None  # advice about a failure must not fail


def _less_than_failed(prediction: Prediction, limit: MemoryLimit | None) -> str:
    rows, fitting = prediction.rows, [prediction.rows] * 2
    if limit is not None:
        fitting = [max(1, prediction.largest_rows(limit, checkpointing)) for checkpointing in (False, True)]
    remedies = [f"micro_batch_size: {min(rows // 2, fitting[0])}"] if rows > 1 else []
    if prediction.checkpointed_mb is not None:
        both = f", micro_batch_size: {fitting[1]}" if fitting[1] < rows else ""
        remedies.append(f"gradient_checkpointing: true{both}")
    if not remedies:
        return _NEEDS_LESS
    return f"{_settings(remedies)}, or lower data.max_length"


def _settings(remedies: Iterable[str]) -> str:
    return f"add {' or '.join(f'{{{remedy}}}' for remedy in remedies)} to its hyperparameters"


def read_predictions(files: Iterable[Path], kind: str) -> dict[tuple[str, str], Prediction]:
    """Read the predictions of some tasks for a kind of device, by method and task.

    A file that is not there says nothing. Raise ValueError that names one that is damaged.
    """
    found = {}
    for path in filter(Path.exists, files):
        with name_damaged_file(path):
            task = wildcards(Layout.memory, path)["task"]
            content = unseal(read_json(path), path, place=place(Layout.memory, path), always_sealed=True)
            if content["kind"] != kind:
                continue
            for method, prediction in content["methods"].items():
                if prediction is not None:  # the model does not run on shapes alone
                    found[method, task] = fill(Prediction, prediction)
    return found
