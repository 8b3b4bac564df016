"""Tables 5 and 6: what the energy counter's ticks leave uncertain, and the preparation."""

import pandas as pd
import pytest
from builders import REFERENCES, Made, draw_table, energy_run, texts

from lora_core.evaluation.cost_to_threshold import cost_rows


@pytest.fixture
def table6(tmp_path):
    """Draws table 6 with one run, whose costs are changed."""

    def draw(**changes):
        runs = [energy_run("fft", 1, [0.9]), energy_run("lora", 1, [0.9])]
        frame = pd.DataFrame(cost_rows(runs, REFERENCES)).assign(energy_source="counter", energy_boundary="the GPU")
        frame.assign(meter_reason=None, **changes).to_csv(tmp_path / "cola.csv", index=False)
        return draw_table("table6", {"costs": [tmp_path / "cola.csv"]}, methods=("lora",))

    return draw


def test_an_uncertainty_above_a_percent_is_shown_and_explained(table6):
    table = table6(energy_uncertainty_joules=3.0)  # of 100 J in 10 s
    shown = texts(table)
    assert shown["energy (kJ)", "CoLA"] == "0.1 ± 0.003"
    assert shown["power (W)", "CoLA"] == "10.0 ± 0.3"
    assert shown["energy minus idle (kJ)", "CoLA"].endswith(" ± 0.003")
    assert "±" not in shown["training time (s)", "CoLA"]
    assert any(note.startswith("± after an energy or a power: by how much it may be wrong") for note in table.notes)


def test_an_uncertainty_that_is_large_for_the_energy_without_idle_alone_is_explained(table6):
    table = table6(energy_uncertainty_joules=0.5, net_energy_to_threshold_joules=20.0)  # of 100 J
    shown = texts(table)
    assert shown["energy (kJ)", "CoLA"] == "0.1"
    assert shown["energy minus idle (kJ)", "CoLA"] == "0.02 ± 0.0005"
    assert any(note.startswith("± after an energy or a power") for note in table.notes)


@pytest.mark.parametrize("uncertainty", [0.5, None])
def test_a_small_or_unknown_uncertainty_is_not_shown(table6, uncertainty):
    table = table6(energy_uncertainty_joules=uncertainty)
    assert texts(table)["energy (kJ)", "CoLA"] == "0.1"
    assert "±" not in "".join([*texts(table).values(), *table.notes])


def test_a_run_that_is_too_short_for_the_meter_is_named(table6):
    table = table6(too_short_for_meter=True, energy_to_threshold_joules=None)
    assert texts(table)["energy (kJ)", "CoLA"] == "n/a"
    (note,) = [note for note in table.notes if note.startswith("Too short")]
    assert note.endswith("to tell the energy (n/a): lora CoLA seed 1.")


def test_the_preparation_has_rows_of_its_own(table6):
    table = table6(preparation_seconds=1.25, preparation_energy_joules=400.0)
    shown = texts(table)
    assert (shown["preparation (s)", "CoLA"], shown["preparation (kJ)", "CoLA"]) == ("1.25", "0.4")
    assert shown["training time (s)", "CoLA"] == "10.0"
    assert any(note.startswith("Preparation is what happens only once") for note in table.notes)


def test_older_records_have_no_row_of_a_preparation(tmp_path):
    made = Made(tmp_path, energy=5000.0)
    table = draw_table("table6", made.inputs, methods=("lora",))
    assert not [row for row, _ in texts(table) if row.startswith("preparation")]
    assert not [note for note in table.notes if note.startswith("Preparation")]
