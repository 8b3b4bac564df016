"""Numbers as text have no exponent, wherever they are printed."""

import re

import pytest
from builders import DRAWN, draw_table
from matplotlib.figure import Figure

from lora_core.config.labels import setting_text
from lora_core.decimals import plain
from lora_core.evaluation.comparison import Comparison
from lora_core.reporting.figures.canvas import make_logarithmic
from lora_core.reporting.inputs import Setting
from lora_core.reporting.latex import latex
from lora_core.reporting.markdown import markdown

EXPONENT = re.compile(r"\d[eE][-+]?\d")


@pytest.mark.parametrize(
    ("value", "significant", "text"),
    [
        (3e-6, 6, "0.000003"), (-2.04e-7, 2, "-0.0000002"), (5e-5, 6, "0.00005"), (0.0, 6, "0"), (3.0, 6, "3"),
        (1.2e6, 6, "1200000"), (0.1 + 0.2, 6, "0.3"), (9.96, 2, "10"), (1234.5, 3, "1230"),
    ],
)  # fmt: skip
def test_a_number_has_its_significant_digits_and_no_exponent(value, significant, text):
    assert plain(value, significant) == text


def test_thousands_are_grouped_on_request():
    assert plain(22_713_986, 4, grouped=True) == "22,710,000"


def test_settings_and_figures_of_the_answer_have_no_exponent():
    assert setting_text([1e-8, 2e-5]) == "0.00000001, 0.00002"
    one = Comparison("energy", "energy", value=3e-7, low=2e-9, high=4e5, adapter=2e-8, full=3e9)
    texts = one.text, one.interval_text, one.figures_text, Comparison("parameters", "", value=4e-9).text
    assert not [text for text in texts if EXPONENT.search(text)], texts


def test_hyperparameters_have_no_exponent_in_markdown_and_latex():
    hyperparameters = {"fft": {"cola": {"learning_rate": Setting(2e-5, "a source"), "epochs": Setting(3, "a source")}}}
    table = draw_table("table7", {}, **DRAWN | {"hyperparameters": hyperparameters})
    for text in (markdown(table), latex(table)):
        assert "0.00002" in text
        assert not EXPONENT.search(text)


def test_ticks_of_a_logarithmic_axis_are_powers():
    figure = Figure()
    panel = figure.add_subplot()
    panel.plot([1, 2], [1e-9, 3e-2])
    make_logarithmic(panel.yaxis)
    figure.draw_without_rendering()
    ticks = [label.get_text() for label in panel.get_yticklabels()]
    assert {"10⁻⁹", "10⁻³"} <= set(ticks)
    assert not [tick for tick in ticks if EXPONENT.search(tick)]
