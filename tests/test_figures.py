"""Figures: drawn from records, the same twice, the numbers beside them."""

from xml.etree import ElementTree

import pandas as pd
import pytest
from conftest import LORALIB, trained
from safetensors.numpy import load_file

from lora_core.figures import loss_curves


@pytest.fixture(scope="module")
def runs(lora_run, bert, cola, tmp_path_factory):
    reference = trained(LORALIB, bert, cola, tmp_path_factory.mktemp("runs") / "ref", method="lora_ref")
    return [lora_run, reference]


def test_loss_curves_show_every_method_and_keep_every_step_beside_them(runs, tmp_path):
    loss_curves(runs, tmp_path / "curves.svg")
    text = "".join(ElementTree.parse(tmp_path / "curves.svg").getroot().itertext())
    assert {"lora", "lora_ref", "CoLA"} <= set(text.split())
    frame = pd.read_csv(tmp_path / "curves.csv")
    for method, folder in zip(("lora", "lora_ref"), runs, strict=True):
        drawn = frame[frame["method"] == method]["loss"]
        assert (
            drawn.to_numpy("float32").tolist() == load_file(folder / "predictions.safetensors")["step_losses"].tolist()
        )


def test_a_figure_is_the_same_twice(runs, tmp_path):
    for name in ("a", "b"):
        loss_curves(runs, tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
