"""Table 4: memory during training, measured, counted by its parts, and predicted from shapes."""

from lora_core.evaluation.frames import read_memory
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Table, new_table
from lora_core.reporting.tables.cells import devices_note, groups, mean_cell, same_cell, shared_device_note

# Column of the records, what follows the method in a row's label, and the quantity.
ROWS = (
    ("mean_mb", "", "mean memory"),
    ("added_mb", ", minus baseline", "mean memory minus baseline"),
    ("peak_added_mb", ", peak minus baseline", "peak memory minus baseline"),
    ("peak_reserved_mb", ": held by the allocator, peak", "held by the allocator at its peak"),
    ("peak_allocated_mb", ": tensors, peak", "tensors at their peak"),
    ("accounted_mb", ": sum of the four parts", "sum of the four parts"),
    ("weights_mb", ": weights", "weights"),
    ("gradients_mb", ": gradients", "gradients"),
    ("optimizer_mb", ": optimizer state", "optimizer state"),
    ("saved_for_backward_mb", ": saved for backward", "saved for backward"),
    ("predicted_saved_mb", ": saved for backward, predicted", "saved for backward, predicted"),
    ("predicted_mb", ": sum, predicted", "sum of the four parts, predicted"),
)
# These follow from the parameters: there is nothing to average.
FROM_PARAMETERS = {"weights_mb", "gradients_mb", "optimizer_mb"}


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from the record of every run."""
    runs = read_memory(inputs["runs"])
    cells = []
    for column, label, quantity in ROWS:
        if column != "mean_mb" and not runs[column].notna().any():
            continue
        for group in groups(runs):
            cell, values = group.cell(label, quantity, "MB"), group.runs[column]
            if column in FROM_PARAMETERS:
                cells.append(same_cell(cell, values, _mb))
            else:
                cells.append(mean_cell(cell, list(values), _mb))
    notes = ["MB (10^6 bytes). The first rows are the mean and the peak of the samples taken during training."]
    kinds = set(runs["kind"])
    if "resident" in kinds:
        notes.append(
            "On a CPU: the resident memory of the whole process, and the same minus the baseline, which is what it "
            "held before the model was loaded. This is not GPU memory and decides no claim about it."
        )
    if "device" in kinds:
        notes.append(
            "On a GPU: the memory in use on the device, as NVML reports it; its mean is the figure that the paper "
            "gives. It includes what other processes and the CUDA context take, and all that the allocator holds, of "
            "which tensors are a part. The sum of the four parts estimates the peak of tensors."
        )
    notes += [
        "Weights, gradients and the optimizer's state follow from the parameters and the data type of each. Saved for "
        "backward: what autograd kept in the largest batch, each storage counted once, without parameters, and "
        "independent of the device's allocator.",
        "Predicted: an estimate of the same count from shapes alone. On an H200 it was within 3.2 % of the count in "
        "float32 and bf16, for RoBERTa and MPNet, full fine-tuning and LoRA; on a CPU it is the count, except for the "
        "loss. Elsewhere its error is not known.",
        "Gradients are freed before the next forward pass, so they need not exist at the same time as what is saved "
        "for backward. Temporary buffers, and the layer that gradient checkpointing recomputes, are not in the sum, "
        "which is an estimate of the peak.",
        devices_note(runs),
        *shared_device_note(runs),
    ]
    return new_table("table4", "method", cells, notes)


def _mb(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
