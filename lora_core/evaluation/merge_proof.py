"""The proof that merging changed nothing but rounding: logits and predictions of the merged and the unmerged model."""

import numpy as np

from lora_core.decimals import plain
from lora_core.evaluation.latency_record import SCORE_CHANGE, MergeProof
from lora_core.precision import Precision

# By how much merged and unmerged logits may differ, relative to the largest: an operation in float32 rounds by 1.2e-7,
# in TF32 and float16, which both have 10 bits after the point, by 1e-3 and in bfloat16 by 8e-3 at most, and the sums of
# several tens of layers add up.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "tf32": 3e-3, "fp16": 3e-3, "bf16": 3e-2}


def prove_merge(
    name: str, merged: np.ndarray, unmerged: np.ndarray, base: np.ndarray, precision: Precision, scores: bool
) -> MergeProof:
    """Compare logits (examples, outputs) of the merged, the unmerged and the base model.

    Raise ValueError if the largest difference is more than the rounding of the precision.
    """
    difference, largest = float(np.abs(merged - unmerged).max()), float(np.abs(unmerged).max())
    tolerance = TOLERANCE[precision]
    if not difference <= tolerance * largest:  # nan is neither above nor below
        raise ValueError(
            f"merging {name!r} changed a logit by {plain(difference, 2)} (largest logit {plain(largest, 2)}); rounding "
            f"in {precision} explains {plain(tolerance)} of the largest at most"
        )
    changed = np.abs(merged - unmerged)[:, 0] > SCORE_CHANGE if scores else merged.argmax(1) != unmerged.argmax(1)
    return MergeProof(
        largest_logit=largest,
        merged_minus_unmerged=difference,
        merged_minus_base=float(np.abs(merged - base).max()),
        predictions=len(merged),
        changed_predictions=int(changed.sum()),
        scores=scores,
    )
