"""The proof that merging changed nothing but rounding, in each precision."""

import numpy as np
import pytest

from lora_core.evaluation.merge_proof import prove_merge

CLASSES = np.array([[4.0, 1.0], [-2.0, 2.0], [0.5, 0.5001]], np.float32)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("tf32", 3e-3), ("fp16", 3e-3), ("bf16", 3e-2)])
def test_logits_may_differ_by_the_rounding_of_the_precision_relative_to_the_largest(precision, tolerance):
    moved = CLASSES.copy()
    moved[1, 0] += 0.9 * tolerance * 4.0
    proof = prove_merge("lora", moved, CLASSES, CLASSES, precision, scores=False)
    assert proof.largest_logit == 4.0
    assert proof.merged_minus_unmerged == pytest.approx(0.9 * tolerance * 4.0, rel=1e-2)
    assert proof.merged_minus_unmerged == proof.merged_minus_base
    moved[1, 0] = CLASSES[1, 0] + 1.1 * tolerance * 4.0
    with pytest.raises(ValueError, match=rf"merging 'lora' changed a logit by .* rounding in {precision} explains"):
        prove_merge("lora", moved, CLASSES, CLASSES, precision, scores=False)


def test_another_class_is_a_changed_prediction_however_small_the_change():
    moved = CLASSES + np.array([[0.05, 0.0], [0.05, 0.0], [0.05, 0.0]], np.float32)
    proof = prove_merge("lora", moved, CLASSES, CLASSES, "bf16", scores=False)
    assert (proof.predictions, proof.changed_predictions, proof.scores) == (3, 1, False)


def test_a_score_has_changed_if_it_moved_by_more_than_a_hundredth():
    scores = np.array([[5.0], [1.0], [2.0], [3.0]], np.float32)
    moved = scores + np.array([[0.02], [-0.011], [0.009], [0.0]], np.float32)
    proof = prove_merge("lora", moved, scores, scores, "bf16", scores=True)
    assert (proof.predictions, proof.changed_predictions, proof.scores) == (4, 2, True)


def test_nan_is_no_rounding():
    with pytest.raises(ValueError, match="merging 'lora' changed a logit by NaN"):
        prove_merge("lora", CLASSES * np.nan, CLASSES, CLASSES, "bf16", scores=False)
