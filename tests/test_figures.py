"""Figures: drawn from records, the same twice, the numbers beside them, what was not measured said in words."""

import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from builders import LORALIB, METHODS, NO_METER, SEEDS, TASKS, Made, draw_figures, scored, trained
from safetensors.numpy import load_file

from lora_core.evaluation.frames import PARTS
from lora_core.reporting.figures import costs, scores
from lora_core.reporting.figures.style import save


def words(svg):
    return " ".join(" ".join(ElementTree.parse(svg).getroot().itertext()).split())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The SVG files of a study with energies, by name."""
    folder = tmp_path_factory.mktemp("made")
    made = draw_figures(Made(folder, energy=5000.0))
    files = {name: folder / f"{name}.svg" for name in made}
    for name, (figure, frame) in made.items():
        save(figure, frame, files[name])
    return files


def test_every_figure_names_its_tasks_its_units_and_n(drawn):
    units = {
        "scores": "%",
        "score_over_epochs": "epoch",
        "score_over_time": "seconds",
        "score_over_energy": "kJ",
        "time_to_threshold": "seconds",
        "energy_to_threshold": "kJ",
        "memory": "MB",
        "latency": "milliseconds",
        "pareto": "trained parameters",
    }
    for name, svg in drawn.items():
        text = words(svg)
        assert units[name] in text, name
        assert ("n = 5 rounds" if name == "latency" else "n = 3 seeds") in text, name
        assert name == "pareto" or {"CoLA", "RTE"} <= set(text.split()), name
        assert "nan" not in text.lower()


def test_what_a_figure_shows_is_beside_it(drawn):
    assert set(pd.read_csv(drawn["scores"].with_suffix(".csv"))["best"].round(9)) == {0.81, 0.82, 0.83}
    assert set(pd.read_csv(drawn["energy_to_threshold"].with_suffix(".csv"))["energy"]) == {5.0}
    assert {*PARTS} <= set(pd.read_csv(drawn["memory"].with_suffix(".csv")))
    for svg in drawn.values():
        assert len(pd.read_csv(svg.with_suffix(".csv")))


def test_a_mean_and_its_interval_are_said_where_the_mouse_rests(drawn):
    # 81, 82, 83: a standard error of 1 / sqrt 3, and Student's 4.3027 of two degrees.
    reach = 4.302653 / 3**0.5
    assert f"lora: 82.0 [{82 - reach:.1f}, {82 + reach:.1f}], n = 3" in words(drawn["scores"])
    assert "published, LoRA: 62.6" in words(drawn["scores"])


def test_a_figure_can_be_told_apart_by_method_and_task_and_takes_the_ink_of_its_page(drawn):
    for name, svg in drawn.items():
        text = svg.read_text()
        assert 'data-method="lora"' in text
        assert name == "pareto" or 'data-task="rte"' in text
        assert 'class="background"' in text
        assert "currentColor" in text
        assert "#1a1a1a" not in text
        identifiers = re.findall(r'\bid="([^"]+)"', text)
        assert all(f"#{name}" in text for name in identifiers)  # nothing is named that nothing refers to


def test_what_was_not_measured_is_a_gap_with_its_reason_and_no_empty_axes(tmp_path):
    made = Made(tmp_path)
    for name, (figure, frame) in draw_figures(made).items():
        save(figure, frame, tmp_path / f"{name}.svg")
    for name in ("score_over_energy", "energy_to_threshold"):
        text = words(tmp_path / f"{name}.svg")
        assert NO_METER in text
        assert "equal accuracy" in text  # the title stays
        assert not re.search(r"\d\.\d", re.sub(r"Matplotlib v[\d.]+|0\.5 points", "", text))  # no ticks
    assert "n/a: joules of training were not measured" in words(tmp_path / "pareto.svg")
    assert "seconds" in words(tmp_path / "time_to_threshold.svg")


def test_runs_that_never_got_there_are_counted_as_dearer_than_all(tmp_path):
    made = Made(tmp_path, never=("vera",))
    frame = pd.read_csv(made.costs[0])
    frame.loc[(frame["method"] == "lora") & (frame["seed"] == 1), ["epochs_to_threshold", "seconds_to_threshold"]] = (
        None
    )
    frame.to_csv(made.costs[0], index=False)
    save(*costs.to_threshold(made.costs, "time"), tmp_path / "time.svg")
    text = words(tmp_path / "time.svg")
    assert text.count("3 of 3 never got there") == len(TASKS)
    assert "1 of 3 never got there" in text
    # 22, 23 and one above both: the median is 23, and there is no interval.
    assert "lora: 23.0, n = 2" in text
    assert "fft: 22.0 [" in text


def test_a_method_without_a_figure_is_named(tmp_path):
    made = Made(tmp_path, energy=5000.0)
    for file, columns in (
        (made.costs[0], ["energy_to_threshold_joules"]),
        (made.curves[0], ["cumulative_train_energy_joules"]),
    ):
        frame = pd.read_csv(file)
        frame.loc[frame["method"] == "vera", columns] = None
        frame.to_csv(file, index=False)
    save(*costs.to_threshold(made.costs, "energy"), tmp_path / "energy.svg")
    assert words(tmp_path / "energy.svg").split().count("n/a") == 1
    save(*scores.curves(made.curves, made.costs, "energy"), tmp_path / "curves.svg")
    assert "n/a: vera" in words(tmp_path / "curves.svg")


def test_two_devices_are_never_averaged(tmp_path):
    made = Made(tmp_path)
    for file in made.costs:
        frame = pd.read_csv(file)
        frame.loc[frame["seed"] == 3, "device"] = "another"
        frame.to_csv(file, index=False)
    for figure, frame in (
        scores.pareto(made.scores, made.counts, made.runs, made.costs),
        scores.curves(made.curves, made.costs, "time"),
        costs.to_threshold(made.costs, "time"),
    ):
        assert set(frame["method"]) == {f"{m} on {d}" for m in METHODS for d in ("a CPU", "another")}
        assert figure


def test_a_long_curve_is_thinned_for_the_page_and_kept_beside_it():
    assert len(scores.thinned(pd.Series(range(252_600)))) <= scores.POINTS
    assert list(scores.thinned(pd.Series([1, 2, 3]))) == [1, 2, 3]


def test_on_the_front_are_the_methods_that_none_beats_on_both_sides(tmp_path):
    made = Made(tmp_path)
    best = {"fft": 0.9, "lora": 0.8, "vera": 0.7}  # vera trains as few as 10 parameters, fft all 1,000
    for file, task in zip(made.scores, TASKS, strict=True):
        scored(file.parent, *((m, s, best[m], 0.7, 0.7, False) for m in METHODS for s in SEEDS), task=task)
    front = scores.pareto(made.scores, made.counts, made.runs, made.costs)[0].axes[0].lines[0]
    assert list(front.get_xdata()) == [10, 100, 1000]
    assert list(front.get_ydata()) == pytest.approx([70, 80, 90])
    for file, task in zip(made.scores, TASKS, strict=True):  # now lora is beaten by vera, which is cheaper
        scored(
            file.parent,
            *((m, s, 0.75 if m == "lora" else 0.9, 0.7, 0.7, False) for m in METHODS for s in SEEDS),
            task=task,
        )
    front = scores.pareto(made.scores, made.counts, made.runs, made.costs)[0].axes[0].lines[0]
    assert 100 not in list(front.get_xdata())


def test_a_name_from_the_configuration_cannot_leave_its_attribute(tmp_path):
    odd = 'a"><script>&1'
    files = scored(tmp_path, (odd, 1, 0.8, 0.7, 0.7, False))
    save(*scores.scores(files), tmp_path / "odd.svg")
    groups = ElementTree.parse(tmp_path / "odd.svg").getroot().iter("{http://www.w3.org/2000/svg}g")
    assert odd in {g.get("data-method") for g in groups}
    assert "<script" not in (tmp_path / "odd.svg").read_text()


@pytest.fixture(scope="module")
def runs(lora_run, bert, cola, tmp_path_factory):
    reference = trained(LORALIB, bert, cola, tmp_path_factory.mktemp("runs") / "ref", method="lora_ref")
    return [lora_run, reference]


def test_power_without_a_meter_is_a_gap(runs, tmp_path):
    save(*costs.power(runs), tmp_path / "power.svg")
    assert words(tmp_path / "power.svg").count("n/a:") == 2


def test_loss_curves_show_every_method_and_keep_every_step_beside_them(runs, tmp_path):
    save(*scores.loss_curves(runs), tmp_path / "curves.svg")
    assert {"lora", "lora_ref", "CoLA"} <= set(words(tmp_path / "curves.svg").split())
    frame = pd.read_csv(tmp_path / "curves.csv")
    for method, folder in zip(("lora", "lora_ref"), runs, strict=True):
        shown = frame[frame["method"] == method]["loss"].to_numpy("float32")
        assert shown.tolist() == load_file(folder / "predictions.safetensors")["step_losses"].tolist()


def test_a_difference_is_drawn_and_none_is_said(runs, bert, cola, tmp_path):
    same = trained(LORALIB, bert, cola, tmp_path / "twin", method="twin")
    save(*scores.loss_curves([runs[1], same]), tmp_path / "same.svg")
    assert "twin is the same at each of 16 steps, bit for bit" in words(tmp_path / "same.svg")
    other = trained(LORALIB, bert, cola, tmp_path / "other", method="other", hyperparameters={"learning_rate": 2e-3})
    save(*scores.loss_curves([runs[1], other]), tmp_path / "other.svg")
    assert re.search(r"other: 1\d of 16 steps differ", words(tmp_path / "other.svg"))


def test_a_figure_is_the_same_twice(runs, tmp_path):
    for name in ("a", "b"):
        save(*scores.loss_curves(runs), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
