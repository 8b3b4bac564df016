"""Figures: drawn from records, the same twice, the numbers beside them."""

import re
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


def words(svg):
    return " ".join("".join(ElementTree.parse(svg).getroot().itertext()).split())


def test_a_difference_is_drawn_and_none_is_said(runs, bert, cola, tmp_path):
    same = trained(LORALIB, bert, cola, tmp_path / "twin", method="twin")
    loss_curves([runs[1], same], tmp_path / "same.svg")
    assert "twin is the same at each of 16 steps, bit for bit" in words(tmp_path / "same.svg")
    other = trained(LORALIB, bert, cola, tmp_path / "other", method="other", hyperparameters={"learning_rate": 2e-3})
    loss_curves([runs[1], other], tmp_path / "other.svg")
    assert re.search(r"other differs in 1\d of 16 steps", words(tmp_path / "other.svg"))


def test_a_figure_is_the_same_twice(runs, tmp_path):
    for name in ("a", "b"):
        loss_curves(runs, tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
