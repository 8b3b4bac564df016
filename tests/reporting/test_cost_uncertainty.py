"""Tables 5 and 6: what the energy counter's ticks leave uncertain, and the preparation."""

import pandas as pd
import pytest
from builders import REFERENCES, Made, draw_table, energy_run, texts

from lora_core.evaluation.cost_to_threshold import cost_rows


@pytest.fixture
def table6(tmp_path):
    """Draws table 6 with one run, whose costs are changed."""

    def draw(details="", **changes):
        runs = [energy_run("fft", 1, [0.9]), energy_run("lora", 1, [0.9])]
        frame = pd.DataFrame(cost_rows(runs, REFERENCES)).assign(energy_source="counter", energy_boundary="the GPU")
        frame.assign(meter_reason=None, **changes).to_csv(tmp_path / "cola.csv", index=False)
        return draw_table(f"table6{details}", {"costs": [tmp_path / "cola.csv"]}, methods=("lora",))

    return draw


def test_an_uncertainty_above_a_percent_is_shown_and_explained(table6):
    table = table6(energy_uncertainty_joules=3.0)  # of 100 J in 10 s
    shown = texts(table)
    energy = next(cell for cell in table.cells if cell.quantity == "energy")
    assert (energy.low, energy.high) == (pytest.approx(0.097), pytest.approx(0.103))
    assert "uncertainty of the energy counter" in energy.note
    assert shown["LoRA (own): energy (kJ)", "CoLA"] == "0.1000 ± 0.0030"
    assert shown["LoRA (own): power (W)", "CoLA"] == "10.00 ± 0.30"
    details = texts(table6("-details", energy_uncertainty_joules=3.0))
    assert details["LoRA (own): energy minus idle (kJ)", "CoLA"].endswith(" ± 0.0030")
    assert "±" not in shown["LoRA (own): training time (s)", "CoLA"]
    assert any(note.startswith("± after an energy or a power: by how much it may be wrong") for note in table.notes)


def test_an_uncertainty_that_is_large_for_the_energy_without_idle_alone_is_explained(table6):
    costs = {"energy_uncertainty_joules": 0.5, "net_energy_to_threshold_joules": 20.0}  # of 100 J
    table = table6(**costs)
    assert texts(table)["LoRA (own): energy (kJ)", "CoLA"] == "0.100"
    assert not any(note.startswith("±") for note in table.notes)
    table = table6("-details", **costs)
    assert texts(table)["LoRA (own): energy minus idle (kJ)", "CoLA"] == "0.02000 ± 0.00050"
    assert any(note.startswith("± after an energy or a power") for note in table.notes)


@pytest.mark.parametrize("uncertainty", [0.5, None])
def test_a_small_or_unknown_uncertainty_is_not_shown(table6, uncertainty):
    table = table6(energy_uncertainty_joules=uncertainty)
    assert texts(table)["LoRA (own): energy (kJ)", "CoLA"] == "0.100"
    assert "±" not in "".join([*texts(table).values(), *table.notes])


def test_a_run_that_is_too_short_for_the_meter_is_named(table6):
    table = table6(too_short_for_meter=True, energy_to_threshold_joules=None)
    assert texts(table)["LoRA (own): energy (kJ)", "CoLA"] == "n/a"
    (note,) = [note for note in table.notes if note.startswith("Too short")]
    assert note.endswith("to tell the energy (n/a): LoRA (own) CoLA seed 1.")


def test_the_preparation_has_rows_of_its_own(table6):
    costs = {"preparation_seconds": 1.25, "preparation_energy_joules": 400.0}
    table = table6("-details", **costs)
    shown = {row.removeprefix("LoRA (own): "): text for (row, _), text in texts(table).items()}
    assert (shown["preparation (s)"], shown["preparation (kJ)"]) == ("1.25", "0.400")
    assert texts(table6(**costs))["LoRA (own): training time (s)", "CoLA"] == "10.0"
    assert any(note.startswith("Preparation is what happens only once") for note in table.notes)


def test_older_records_have_no_row_of_a_preparation(tmp_path):
    made = Made(tmp_path, energy=5000.0)
    table = draw_table("table6-details", made.inputs, methods=("lora",))
    assert not [row for row, _ in texts(table) if ": preparation" in row]
    assert not [note for note in table.notes if note.startswith("Preparation")]


@pytest.mark.parametrize(
    ("net_of", "when"),
    [
        ("idle_context", "with the model on the GPU, because an idle CUDA context alone draws power."),
        ("idle", "before the model was loaded."),
        (None, "by the run itself."),
    ],
)
def test_the_table_says_which_idle_power_is_subtracted(table6, net_of, when):
    start = "Energy minus idle: "
    (note,) = [note for note in table6("-details", idle_net_of=net_of).notes if note.startswith(start)]
    assert note == f"{start}without idle power × time. Idle power was measured {when}"
    (included,) = [note for note in table6(idle_net_of=net_of).notes if "Idle power" in note]  # it has no such row
    assert included == f"Idle power is included; the details of this table are without it, as measured {when}"
    without = table6("-details", idle_net_of=net_of, net_energy_to_threshold_joules=None)
    assert not any(note.startswith(start) for note in without.notes)
