"""Table 1: trainable parameters; and the parts of the count."""

from collections.abc import Iterator, Mapping

from lora_core.evaluation.counts import ParameterCounts, read_counts
from lora_core.evaluation.gradients import Gradients, read_gradients
from lora_core.reporting.digits import FIGURES, Numbers, count
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table

TRAINABLE = "trainable parameters"
MILLIONS = Numbers(1e-6, 1)  # as in the paper
SHARE = Numbers(100)
NAMED = 4  # tensors without a gradient that a note names
ROUNDED_BY = 0.05  # a count is not given in millions if that changes it by more than this share


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 1 from counts.json: what each method trains, and its share of the whole model."""
    counts = read_counts(inputs["counts"][0])
    cells = []
    for method, parameters in counts.methods.items():
        row, trainable, share = settings.label(method), parameters.trainable, parameters.trainable / counts.full
        cells.append(_cell(method, row, TRAINABLE, trainable, count(trainable)))
        if _in_millions(counts):
            text = MILLIONS.one(trainable)
            cells.append(_cell(method, row, "in millions", trainable / 1e6, text, TRAINABLE, "million"))
        quantity = "share of the whole model"
        cells.append(_cell(method, row, "% of the whole model", share, SHARE.one(share), quantity, "fraction"))
    return new_table("table1", "method", cells, _notes())


def draw_details(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw what else is counted: the head, the whole model with the adapter, and what training cannot reach."""
    counts = read_counts(inputs["counts"][0])
    read = dict(map(read_gradients, inputs.get("gradients", ())))
    gradients = {method: found for method, found in read.items() if found.outputs}  # nobody tried in older results
    cells = []
    for method, parameters in counts.methods.items():
        row, reduction = settings.label(method), 1 - parameters.trainable / counts.full
        cells += [
            _cell(method, row, "head", parameters.head, count(parameters.head), "parameters of the head"),
            _cell(method, row, "whole model", parameters.total, count(parameters.total),
                  "parameters of the whole model"),
            _cell(method, row, "reduction vs. whole model (%)", reduction, Numbers(100, 2).one(reduction),
                  "reduction vs. whole model", "fraction"),
        ]  # fmt: skip
        cells += _storage_cells(method, row, counts)
        if method in gradients:
            without = sum(gradients[method].without.values())
            cells.append(_cell(method, row, "trained without a gradient", without, count(without)))
    notes = [*_notes(), *_storage_notes(counts), *_gradient_notes(gradients, settings)]
    return new_table("table1-details", "method", cells, notes)


def _storage_cells(method: str, row: str, counts: ParameterCounts) -> Iterator[Cell]:
    """What a task needs on disk, and how many tasks fit into the size of one full model; none in older records."""
    stored, full = counts.methods[method].saved_bytes, counts.full_bytes
    if stored is None or full is None:
        return
    yield _cell(method, row, "on disk per task (MB)", stored / 1e6, FIGURES.one(stored / 1e6), "size on disk", "MB")
    tasks = full // stored
    yield _cell(method, row, "tasks in the size of one full model", tasks, count(tasks), unit="tasks")


def _storage_notes(counts: ParameterCounts) -> Iterator[str]:
    if counts.full_bytes is not None:
        yield (
            "On disk per task: the tensors that a run saves, counted from shapes and type (float32): an adapter with "
            "its head, or all weights. An adapter also needs the base model, once for all tasks; headers, "
            f"configuration and tokenizer are not counted. One full model: {FIGURES.one(counts.full_bytes / 1e6)} MB "
            "(10⁶ bytes)."
        )


def _in_millions(counts: ParameterCounts) -> bool:
    """Whether every count is about the same in millions with one decimal: 73,728 is not 0.1 million."""
    trained = [parameters.trainable for parameters in counts.methods.values()]
    return all(abs(round(number / 1e6, 1) * 1e6 - number) <= ROUNDED_BY * number for number in trained)


def _notes() -> list[str]:
    return [
        "Counted on shapes for a head with two labels; no training is needed.",
        "As in the paper, the count of an adapter method excludes the head, which every method trains; the count of "
        "full fine-tuning is the whole model, including its head.",
    ]


def _gradient_notes(gradients: Mapping[str, Gradients], settings: DrawSettings) -> Iterator[str]:
    """Name the parameters that are counted as trained but get no gradient."""
    if gradients:
        yield (
            "Trained without a gradient: counted as trained, but their gradient is absent or exactly 0 at the second "
            "step of training, so that at most weight decay changes them. Biases of keys, which change no answer, are "
            "left out."
        )
    for method, found in gradients.items():
        if not found.without:
            continue
        names = list(found.without)
        more = f" and {len(names) - NAMED} more tensors" if len(names) > NAMED else ""
        instead = f"; the model reads {', '.join(found.read_instead)} instead: add them to the targets"
        yield (
            f"Without a gradient with {settings.label(method)}: {', '.join(names[:NAMED])}{more}"
            f"{instead if found.read_instead else ''}."
        )


def _cell(
    method: str, row: str, column: str, value: float, text: str, quantity: str = "", unit: str = "parameters"
) -> Cell:
    return Cell(row, column, value, text, method=method, quantity=quantity or column, unit=unit)
