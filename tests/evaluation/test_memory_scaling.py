"""Training memory against model size: what is predicted from shapes is what a real step stores."""

import pytest

from lora_core.evaluation import memory_scaling
from lora_core.evaluation.frames import KEY, read_memory_scaling
from lora_core.methods import full
from lora_core.records import read_json
from lora_core.sealed import unseal

SMALL = memory_scaling.Shape("small", 32, 2, 2, 300, 130)
LARGER = memory_scaling.Shape("larger", 64, 3, 2, 300, 130)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """scaling.json of two small shapes."""
    file = tmp_path_factory.mktemp("scaling") / "scaling.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_scaling, "SHAPES", (SMALL, LARGER))
        patch.setattr(memory_scaling, "COUNTED", (SMALL,))
        memory_scaling.predict_memory(file, threads=1)
    return file


def test_a_prediction_from_shapes_is_what_a_real_step_stores(record):
    scaling = read_memory_scaling(record)
    both = scaling.predicted.merge(scaling.counted, on=KEY)
    assert len(both) == 1
    for side in ("full_mb", "lora_mb"):
        assert both[f"{side}_x"][0] == pytest.approx(both[f"{side}_y"][0], rel=0.02)
    row = scaling.counted.iloc[0]
    assert row["saved"] == pytest.approx(1 - row["lora_mb"] / row["full_mb"])
    assert row["full_peak_mb"] > 0


def test_further_layers_are_added_to_a_prediction_as_they_are_in_a_model(record):
    """`record` extrapolates three layers from one and two."""
    for row in [row for row in read_json(record)["predicted"] if row["model"] == "larger"]:
        model = memory_scaling._shapes(LARGER, memory_scaling.METHODS[row["method"]])
        parts = memory_scaling._predicted_parts(model, (row["batch"], row["tokens"]))
        assert {part: row[part] for part in parts} == pytest.approx(parts, rel=1e-12)
        assert row["parameters"] == sum(p.numel() for name, p in model.named_parameters() if ".lora_" not in name)


def test_methods_are_named_by_their_kind(record):
    for rows in unseal(read_json(record), record).values():
        assert {row["method"] for row in rows} == {"full", "lora"}


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        *(("MiniLM-L6", 22.7), ("RoBERTa-base", 124.6), ("RoBERTa-large", 355), ("GPT-2 small", 124)),
        *(("GPT-2 XL", 1558), ("GPT-3 13B", 13e3), ("GPT-3 175B", 175e3)),
    ],
)
def test_shapes_have_the_published_sizes(name, millions):
    import torch

    shape = next(shape for shape in memory_scaling.SHAPES if shape.name == name)
    with torch.device("meta"):
        model = memory_scaling.build(shape, full.Settings())
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(millions * 1e6, rel=0.015)
