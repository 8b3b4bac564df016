"""Figures: drawn from records, identical when drawn twice, with their data as CSV and a reason for what is missing."""

import csv
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from builders import (
    LORALIB,
    METHOD_LABELS,
    METHODS,
    NO_METER,
    SEEDS,
    TASKS,
    Made,
    draw_figure,
    record,
    score_inputs,
    scored,
    trained,
)
from safetensors.numpy import load_file

from lora_core.evaluation.frames import PARTS
from lora_core.reporting import catalogue
from lora_core.reporting.figures.loss_curves import POINTS, thinned
from lora_core.reporting.figures.style import method_styles
from lora_core.reporting.inputs import DrawSettings, SweptMethod
from lora_core.reporting.page.figure_svg import read_svg


def svg_text(svg):
    return " ".join(" ".join(ElementTree.parse(svg).getroot().itertext()).split())


def front_of(made):
    """The gray line of the first panel of the figure of score against cost."""
    figure, _ = catalogue.figure("pareto").function()(made.inputs, DrawSettings())
    return figure.axes[0].lines[0]


def loss_inputs(*folders):
    return {
        "loss_runs": [folder / "run.json" for folder in folders],
        "loss_predictions": [folder / "predictions.safetensors" for folder in folders],
    }


# A unit that each figure names.
UNITS = {
    "scores": "%",
    "score_over_epochs": "epoch",
    "score_over_time": "seconds",
    "score_over_energy": "kJ",
    "time_to_threshold": "seconds",
    "energy_to_threshold": "kJ",
    "memory": "GB",
    "latency": "milliseconds",
    "pareto": "trained parameters",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The SVG files of a study with energies, by name."""
    folder = tmp_path_factory.mktemp("made")
    inputs = Made(folder, energy=5000.0).inputs
    return {name: draw_figure(name, inputs, folder) for name in UNITS}


def test_every_figure_names_its_tasks_its_units_and_n(drawn):
    for name, svg in drawn.items():
        text = svg_text(svg)
        assert UNITS[name] in text, name
        assert ("n = 5 rounds" if name == "latency" else "n = 3 seeds") in text, name
        assert name == "pareto" or {"CoLA", "RTE"} <= set(text.split()), name
        assert "nan" not in text.lower()


def test_the_csv_of_a_figure_holds_what_it_shows(drawn):
    assert set(pd.read_csv(drawn["scores"].with_suffix(".csv"))["best"].round(9)) == {0.81, 0.82, 0.83}
    assert set(pd.read_csv(drawn["energy_to_threshold"].with_suffix(".csv"))["energy"]) == {5.0}
    assert {*PARTS} <= set(pd.read_csv(drawn["memory"].with_suffix(".csv")))
    for svg in drawn.values():
        assert len(pd.read_csv(svg.with_suffix(".csv")))


def test_what_is_counted_is_written_as_whole_numbers(drawn):
    for name, svg in drawn.items():
        with svg.with_suffix(".csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        counted = {"seed", "seeds", "epoch", "step", "n", "round", "examples", "trained_parameters"} & set(rows[0])
        assert name != "pareto" or "trained_parameters" in counted
        for column in counted:
            assert all(row[column].isdigit() for row in rows if row[column]), (name, column, rows[0])


def test_parts_tensors_and_the_device_share_one_axis_in_gigabytes(tmp_path):
    device = {"kind": "device", "peak_allocated_mb": 300.0, "peak_reserved_mb": 400.0}
    runs = [record(tmp_path, "fft", 1, **device), record(tmp_path, "lora", 1, **device)]
    figure, frame = catalogue.figure("memory").function()({"runs": runs}, DrawSettings())
    (panel,) = figure.axes
    _, labels = panel.get_legend_handles_labels()
    assert set(labels) >= {"tensors, peak", "held by the device, mean (NVML)"}
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.lines]
    assert points == [(0.3, 0), (0.3, 1), (0.5, 0), (0.5, 1)]
    assert sum(bar.get_width() for bar in panel.patches) == pytest.approx(2 * 0.2)  # 90 + 20 + 40 + 50 MB each
    assert panel.get_xlabel() == "memory, GB"
    assert list(frame["nvml_mb"]) == [500, 500]


def test_on_a_cpu_the_process_is_shown_without_what_it_held_before(tmp_path):
    figure, _ = catalogue.figure("memory").function()({"runs": [record(tmp_path, "fft", 1)]}, DrawSettings())
    (line,) = figure.axes[0].lines
    assert (line.get_label(), list(line.get_xdata())) == ("process, mean minus baseline", [0.3])


def test_a_mean_and_its_interval_are_in_the_tooltip(drawn):
    # 81, 82, 83: a standard error of 1 / sqrt 3, and Student's 4.3027 of two degrees.
    reach = 4.302653 / 3**0.5
    assert f"LoRA (own): 82.0 [{82 - reach:.1f}, {82 + reach:.1f}], n = 3" in svg_text(drawn["scores"])


def test_all_that_a_sweep_draws_of_a_combination_is_tagged_with_it(tmp_path):
    swept = {method: SweptMethod("ranks", {"rank": rank}) for rank, method in enumerate(("lora", "vera"), 1)}
    svg = draw_figure("sweep", Made(tmp_path).inputs, tmp_path, swept=swept)
    shapes = ElementTree.parse(svg)
    color = method_styles(["ranks"])["ranks"].color
    tagged = [e for group in shapes.iter() if group.get("data-method") in swept for e in group.iter()]
    drawn = [e for e in shapes.iter() if color.lower() in (e.get("style") or "").lower()]
    legend = [e for e in drawn if e not in tagged]
    assert len(drawn) > 20
    assert len(legend) <= 6  # the line's own entry
    for method in swept:
        assert len([g for g in shapes.iter() if g.get("data-method") == method]) == 20  # 5 parts in 2 panels of 2 tasks


def test_marks_carry_their_method_and_task_and_text_takes_the_color_of_the_page(drawn):
    for name, svg in drawn.items():
        text = svg.read_text()
        assert 'data-method="lora"' in text
        assert name == "pareto" or 'data-task="rte"' in text
        assert 'class="background"' in text
        assert "currentColor" in text
        assert text.count("#1a1a1a") == 1
        assert re.search(r'<svg [^>]*\bcolor="#1a1a1a"', text)  # of the file alone; the page has its own
        assert "#1a1a1a" not in read_svg(svg)
        identifiers = re.findall(r'\bid="([^"]+)"', text)
        assert all(f"#{name}" in text for name in identifiers)  # every identifier is referred to


def test_a_figure_without_measurements_shows_the_reason_and_no_empty_axes(tmp_path):
    made = Made(tmp_path)
    for name in UNITS:
        draw_figure(name, made.inputs, tmp_path)
    for name in ("score_over_energy", "energy_to_threshold"):
        text = svg_text(tmp_path / f"{name}.svg")
        assert NO_METER in text
        assert "not measured" in text
        assert not re.search(r"\d\.\d", re.sub(r"Matplotlib v[\d.]+", "", text))  # no ticks
        assert len(ElementTree.parse(tmp_path / f"{name}.svg").getroot().findall(".//*[@data-task]")) == 0
    assert f"Not measured: training energy ({NO_METER})." in svg_text(tmp_path / "pareto.svg")
    assert "seconds" in svg_text(tmp_path / "time_to_threshold.svg")


def test_runs_that_did_not_reach_the_threshold_count_as_more_expensive_than_all_others(tmp_path):
    made = Made(tmp_path, never=("vera",))
    frame = pd.read_csv(made.costs[0])
    late = (frame["method"] == "lora") & (frame["seed"] == 1)
    frame.loc[late, ["epochs_to_threshold", "seconds_to_threshold"]] = None
    frame.loc[late, "reached"] = False
    frame.to_csv(made.costs[0], index=False)
    text = svg_text(draw_figure("time_to_threshold", made.inputs, tmp_path))
    assert text.count("0 of 3 reached") == len(TASKS)
    assert text.count("2 of 3 reached") == 1
    # 22, 23 and one above both: the median is 23, and there is no interval.
    assert "LoRA (own): 23.0, n = 2" in text
    assert "Full fine-tuning: 22.0 [" in text
    assert "undecided: 1 of 12 runs did not reach the threshold" in text


def test_a_method_without_a_value_is_named(tmp_path):
    made = Made(tmp_path, energy=5000.0)
    for file, columns in (
        (made.costs[0], ["energy_to_threshold_joules"]),
        (made.curves[0], ["cumulative_train_energy_joules"]),
    ):
        frame = pd.read_csv(file)
        frame.loc[frame["method"] == "vera", columns] = None
        frame.to_csv(file, index=False)
    assert svg_text(draw_figure("energy_to_threshold", made.inputs, tmp_path)).split().count("n/a") == 1
    assert "n/a: vera (CoLA)" in svg_text(draw_figure("score_over_energy", made.inputs, tmp_path))


def test_a_mean_over_fewer_seeds_than_the_study_has_is_not_drawn(tmp_path):
    made = Made(tmp_path, energy=5000.0)
    for file, column in ((made.curves[0], "cumulative_train_energy_joules"), (made.costs[0], "train_energy_joules")):
        frame = pd.read_csv(file)
        frame.loc[(frame["method"] == "vera") & (frame["seed"] == SEEDS[0]), column] = None
        frame.to_csv(file, index=False)
    for name in ("score_over_energy", "pareto"):
        assert "n/a: vera" in svg_text(draw_figure(name, made.inputs, tmp_path))


def test_two_devices_are_never_averaged(tmp_path):
    made = Made(tmp_path)
    for file in made.costs:
        frame = pd.read_csv(file)
        frame.loc[frame["seed"] == 3, "device"] = "another"
        frame.to_csv(file, index=False)
    for name in ("pareto", "score_over_time", "time_to_threshold"):
        svg = draw_figure(name, made.inputs, tmp_path)
        names = [f"{METHOD_LABELS.get(m, m)} on {d}" for m in METHODS for d in ("a CPU", "another")]
        assert all(name in svg_text(svg) for name in names)
        groups = ElementTree.parse(svg).getroot().findall(".//*[@data-method]")
        assert {group.get("data-method") for group in groups} == set(METHODS)  # hidden with the method
        assert set(pd.read_csv(svg.with_suffix(".csv"))["method"]) == set(METHODS)


def test_a_long_curve_is_thinned_for_the_page():
    assert len(thinned(pd.Series(range(252_600)))) <= POINTS
    assert list(thinned(pd.Series([1, 2, 3]))) == [1, 2, 3]


def test_the_front_joins_the_methods_that_no_other_beats_in_score_and_cost(tmp_path):
    made = Made(tmp_path)
    best = {"fft": 0.9, "lora": 0.8, "vera": 0.7}  # vera trains as few as 10 parameters, fft all 1,000
    for file, task in zip(made.scores, TASKS, strict=True):
        scored(file.parent, *((m, s, best[m], 0.7, 0.7, False) for m in METHODS for s in SEEDS), task=task)
    front = front_of(made)
    assert list(front.get_xdata()) == [10, 100, 1000]
    assert list(front.get_ydata()) == pytest.approx([70, 80, 90])
    for file, task in zip(made.scores, TASKS, strict=True):  # now lora is beaten by vera, which is cheaper
        scored(
            file.parent,
            *((m, s, 0.75 if m == "lora" else 0.9, 0.7, 0.7, False) for m in METHODS for s in SEEDS),
            task=task,
        )
    front = front_of(made)
    assert 100 not in list(front.get_xdata())


def test_a_name_from_the_configuration_cannot_leave_its_attribute(tmp_path):
    odd = 'a"><script>&1'
    files = scored(tmp_path, (odd, 1, 0.8, 0.7, 0.7, False))
    svg = draw_figure("scores", score_inputs(files), tmp_path)
    groups = ElementTree.parse(svg).getroot().iter("{http://www.w3.org/2000/svg}g")
    assert odd in {g.get("data-method") for g in groups}
    assert "<script" not in svg.read_text()


@pytest.fixture(scope="module")
def runs(lora_run, bert, cola, tmp_path_factory):
    reference = trained(LORALIB, bert, cola, tmp_path_factory.mktemp("runs") / "ref", method="lora_ref")
    return [lora_run, reference]


def test_power_without_a_meter_shows_the_reason(runs, tmp_path):
    inputs = {
        "traced_runs": [folder / "run.json" for folder in runs],
        "traced_power": [folder / "power.csv" for folder in runs],
    }
    assert svg_text(draw_figure("power", inputs, tmp_path)).count("n/a: LoRA (own), LoRA (loralib) (") == 1


def test_loss_curves_show_every_method_and_their_csv_has_every_step(runs, tmp_path):
    svg = draw_figure("loss_curves", loss_inputs(*runs), tmp_path)
    assert all(name in svg_text(svg) for name in ("LoRA (own)", "LoRA (loralib)", "CoLA"))
    frame = pd.read_csv(svg.with_suffix(".csv"))
    for method, folder in zip(("lora", "lora_ref"), runs, strict=True):
        shown = frame[frame["method"] == method]["loss"].to_numpy("float32")
        assert shown.tolist() == load_file(folder / "predictions.safetensors")["step_losses"].tolist()


def test_loss_differences_are_counted_and_equality_is_stated(runs, bert, cola, tmp_path):
    same = trained(LORALIB, bert, cola, tmp_path / "twin", method="twin")
    svg = draw_figure("loss_curves", loss_inputs(runs[1], same), tmp_path)
    assert "twin trains bit for bit as LoRA (loralib)." in svg_text(svg)
    assert "bit-identical at 16 steps" in svg_text(svg)
    other = trained(LORALIB, bert, cola, tmp_path / "other", method="other", hyperparameters={"learning_rate": 2e-3})
    svg = draw_figure("loss_curves", loss_inputs(runs[1], other), tmp_path)
    assert re.search(r"1\d of 16 steps differ", svg_text(svg))


def test_a_figure_is_the_same_when_drawn_twice(runs, tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    first, second = (draw_figure("loss_curves", loss_inputs(*runs), folder) for folder in folders)
    assert first.read_bytes() == second.read_bytes()
