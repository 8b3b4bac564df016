"""What every figure has: one look per method, texts that are readable and inside, and titles that conclude."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from builders import DRAWN, FFT, MERGED, METHOD_LABELS, ROOT, Made, draw_figure, latency_inputs, scored, timed

from lora_core.commands.studies import read_study
from lora_core.config.params import draw_params
from lora_core.reporting import catalogue
from lora_core.reporting.figures import canvas, direct_labels
from lora_core.reporting.figures.canvas import NARROW, WIDE
from lora_core.reporting.figures.conclusions import ratio_title
from lora_core.reporting.figures.style import COLORS, STYLES, method_styles
from lora_core.reporting.inputs import DrawSettings
from lora_core.stats import median_bounds

NAMES = ("scores", "score_over_epochs", "score_over_time", "time_to_threshold", "energy_to_threshold", "memory",
         "latency", "pareto")  # fmt: skip
SETTINGS = DrawSettings(**DRAWN, latency_margin=0.03)
# Machado, Oliveira and Fernandes (2009): what a person without one kind of cone sees, in linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color):
    values = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(float(TO_XYZ[1] @ linear(color)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(color, sight="normal"):
    xyz = TO_XYZ @ np.clip(SIGHTS[sight] @ linear(color), 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def drawn(name, inputs, narrow=False, **settings):
    return catalogue.figure(name).function()(inputs, replace(SETTINGS, narrow=narrow, **settings))


def title(name, inputs, **settings):
    return " ".join(drawn(name, inputs, **settings)[0].get_suptitle().split())


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_every_color_stands_out_from_a_light_and_a_dark_page(page):
    assert all(contrast(color, page) >= 3 for color in COLORS)


def test_twelve_methods_differ_in_marker_or_clearly_in_color_for_every_sight_and_in_gray():
    looks = STYLES[:12]
    assert len({(look.color, look.marker) for look in STYLES}) == len(STYLES)
    for one, other in itertools.combinations(looks, 2):
        if one.marker == other.marker:
            for sight in SIGHTS:
                assert np.linalg.norm(lab(one.color, sight) - lab(other.color, sight)) > 30, (one, other, sight)
            assert abs(lab(one.color)[0] - lab(other.color)[0]) > 10, (one, other)
            assert one.dashes != other.dashes
    for one, other in itertools.combinations(looks[:6], 2):
        assert min(np.linalg.norm(lab(one.color, s) - lab(other.color, s)) for s in SIGHTS) > 15, (one, other)


def test_a_method_looks_the_same_whatever_else_a_figure_shows(tmp_path):
    made = Made(tmp_path)
    labels = {"bitfit": "BitFit", **METHOD_LABELS, "vera": "VeRA"}
    expected = {name: look.color for name, look in method_styles(labels).items()}
    for file in made.scores:
        frame = pd.read_csv(file)
        frame[frame["method"] != "fft"].to_csv(file, index=False)
    figure, _ = drawn("scores", made.inputs, labels=labels)
    colors = {line.get_gid().split(":")[1]: line.get_color() for line in figure.axes[0].lines if line.get_gid()}
    assert colors == {method: expected[method] for method in ("lora", "vera")}
    assert expected["lora"] == STYLES[2].color  # the third of the study


@pytest.mark.parametrize(("width", "columns"), [(WIDE, (850, 1100)), (NARROW, (340,))])
def test_texts_have_at_least_eleven_pixels_as_they_are_shown(tmp_path, width, columns):
    made = Made(tmp_path, energy=5000.0)
    for name in NAMES:
        svg = draw_figure(name, made.inputs, tmp_path, latency_margin=0.03)
        text = (svg if width == WIDE else svg.with_stem(f"{name}-narrow")).read_text()
        assert float(re.search(r'viewBox="0 0 (\S+) ', text)[1]) == pytest.approx(width)
        sizes = {float(size) for size in re.findall(r"font(?:-size)?: [^;\"]*?([\d.]+)px", text)}
        assert sizes
        for column in columns:
            assert min(sizes) * column / width >= 11, (name, column)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("energy", [None, 5000.0])
def test_no_text_is_clipped_by_the_edge_of_its_figure(tmp_path, narrow, energy):
    made = Made(tmp_path, energy=energy, never=("vera",), disturbed={("lora", "cola", 1)})
    costs = pd.read_csv(made.costs[0])
    costs["meter_reason"] = None if energy else "RAPL: /sys/class/powercap/" + "a-very-long-name-" * 9
    costs.to_csv(made.costs[0], index=False)
    for name in (*NAMES, "score_over_energy"):
        figure, _ = drawn(name, made.inputs, narrow=narrow)
        canvas.arrange(figure)
        figure.draw_without_rendering()
        inside = [text for panel in figure.axes for text in panel.texts]
        for text in (figure._suptitle, *inside, *legend_texts(figure)):
            if text is not None and text.get_text():
                box = text.get_window_extent()
                assert 0 <= box.x0 <= box.x1 <= figure.bbox.width + 0.5, (name, text.get_text())
                assert 0 <= box.y0 <= box.y1 <= figure.bbox.height + 0.5, (name, text.get_text())


def legend_texts(figure):
    notes = [figure._supxlabel] if figure._supxlabel else []
    return [*notes, *(text for legend in figure.legends for text in legend.get_texts())]


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (5, 1, 5), (6, 2, 3), (8, 2, 4)])
def test_five_panels_fit_across_a_wide_figure_and_one_a_narrow_one(count, rows, columns):
    wide, _ = canvas.panels(["a"] * count)
    narrow, _ = canvas.panels(["a"] * count, narrow=True)
    assert wide.axes[0].get_gridspec().get_geometry() == (rows, columns)
    assert narrow.axes[0].get_gridspec().get_geometry() == (count, 1)


def test_a_title_has_the_ratio_of_the_claims(tmp_path):
    made = Made(tmp_path)
    for file, factor in zip(made.costs, (0.5, 0.72), strict=True):
        frame = pd.read_csv(file)
        frame.loc[frame["method"] == "lora", "median_epoch_seconds"] *= factor
        frame.to_csv(file, index=False)
    # Each seed has the same two ratios, whose geometric mean is the root of 0.36.
    assert title("score_over_time", made.inputs) == (
        "LoRA (own) needs 0.60 [0.60, 0.60] of the time per epoch of full fine-tuning "
        "(geometric mean of 2 tasks, n = 3 seeds)."
    )
    costs = pd.concat([pd.read_csv(file).assign(task=file.stem) for file in made.costs])
    says = {"says": "needs {} time per epoch of", "otherwise": "Time per epoch"}
    two = costs[costs["seed"] < 3]
    assert "needs 0.60 of the" in ratio_title(two, "median_epoch_seconds", SETTINGS, **says)
    one = costs.assign(disturbed=(costs["method"] == "lora") & (costs["seed"] == 1))
    assert "; undecided: 2 of 12 runs were disturbed." in ratio_title(one, "median_epoch_seconds", SETTINGS, **says)
    alone = costs[costs["method"] == "fft"]
    assert ratio_title(alone, "median_epoch_seconds", SETTINGS, **says) == "Time per epoch."
    assert ratio_title(costs, "median_epoch_seconds", DrawSettings(), **says) == "Time per epoch."


def test_a_title_of_scores_says_by_how_many_points_they_differ(tmp_path):
    values = {"fft": (0.80, 0.82, 0.84), "lora": (0.78, 0.79, 0.83)}  # lower by 2, 3 and 1 points
    runs = [(m, s, v, 0.7, 0.7, False) for m, scores in values.items() for s, v in enumerate(scores, 1)]
    shown = title("scores", {"scores": scored(tmp_path, *runs)})
    reach = 4.302653 / 3**0.5  # of the mean 2 with a standard deviation of 1
    assert shown == (
        f"LoRA (own) scores 2.0 points lower ({2 + reach:.1f} lower to {reach - 2:.1f} higher) than full fine-tuning "
        "(n = 3 seeds); undecided: the interval includes no difference."
    )


def test_a_title_of_latency_has_the_digits_of_the_answer(tmp_path):
    seconds = [0.10, 0.11, 0.12, 0.13, 0.14, 0.12]
    times = {FFT: seconds, MERGED: [1.0062 * second for second in seconds]}
    shown = title("latency", latency_inputs(timed(tmp_path, times)))
    assert shown == (
        "LoRA (own), merged, takes 1.01 times the latency of full fine-tuning (1 timing); within a margin of 3 %: "
        "equivalent."
    )
    several = [timed(tmp_path / "two", times, task) for task in ("cola", "rte")]
    assert title("latency", latency_inputs(*several)).endswith(
        " (geometric mean of 2 timings); within a margin of 3 %: equivalent in 2 of 2."
    )


def test_the_title_is_that_of_the_svg(tmp_path):
    svg = draw_figure("score_over_time", Made(tmp_path).inputs, tmp_path)
    first = re.search(r"<title>(.*?)</title>", svg.read_text())[1]
    assert first.startswith("LoRA (own) needs 1.00")


def test_one_slow_pass_does_not_squash_the_others_and_is_named(tmp_path):
    times = {FFT: [0.10, 0.11, 0.12, 0.13, 0.14, 0.12], MERGED: [0.10, 0.11, 0.12, 0.13, 0.14, 9.0]}
    inputs = latency_inputs(timed(tmp_path, times))
    for narrow in (False, True):
        figure, frame = drawn("latency", inputs, narrow=narrow)
        assert figure.axes[0].get_xlim()[1] < 200
        assert "1 of 6 up to 9,000 ms" in [text.get_text() for text in figure.axes[0].texts]
        assert frame["milliseconds"].max() == 9000
    near = latency_inputs(timed(tmp_path / "near", times | {MERGED: [0.10, 0.11, 0.12, 0.13, 0.14, 0.15]}))
    assert not drawn("latency", near)[0].axes[0].texts


def test_the_median_lies_between_two_of_the_ordered_values():
    # The sign test: of 10 values, fewer than two on one side of the median has the probability 2 * 11 / 1024.
    assert median_bounds(range(10)) == (1, 8)
    assert median_bounds(range(6)) == (0, 5)  # 2 / 64
    assert median_bounds(range(5)) is None  # 2 / 32 is above 5 %


def test_published_scores_are_shown_where_the_study_is_comparable_alone(tmp_path):
    made = Made(tmp_path)
    assert "published, LoRA: 62.6" in draw_figure("scores", made.inputs, tmp_path, comparable=True).read_text()
    assert "published" not in draw_figure("scores", made.inputs, tmp_path).read_text()
    settings = catalogue.figure("scores").settings
    assert draw_params(read_study(), "scores", settings)["comparable"] is False  # a tiny model on generated data
    paper = read_study([str(ROOT / "config/paper.yaml")])
    assert draw_params(paper, "scores", settings)["comparable"] is True


def test_the_data_of_score_against_cost_has_every_task_method_and_cost(tmp_path):
    made = Made(tmp_path, energy=5000.0)
    figure, frame = drawn("pareto", made.inputs)
    assert list(frame.columns) == ["task", "method", "label", "score", "trained_parameters", "memory_gb",
                                   "train_seconds", "train_energy_kj", "latency_ms", "disturbed"]  # fmt: skip
    lora = frame[(frame["method"] == "lora") & (frame["task"] == "cola")].iloc[0]
    assert (lora["label"], lora["trained_parameters"], lora["memory_gb"]) == ("LoRA (own)", 100, pytest.approx(0.2))
    assert (lora["train_seconds"], lora["train_energy_kj"], lora["score"]) == (32.0, 5.0, pytest.approx(0.82))
    passes = pd.read_csv(made.latency[0])
    merged = passes[(passes["method"] == "lora") & (passes["variant"] == "merged")]
    assert lora["latency_ms"] == pytest.approx(1e3 * merged["seconds"].median() / 9)
    assert frame.loc[frame["method"] == "vera", "latency_ms"].isna().all()
    assert len(figure.axes) == 5
    assert [panel.get_xlabel() for panel in figure.axes][-1] == "latency, ms per example"


def boxes(figure):
    figure.draw_without_rendering()
    return [[text.get_window_extent() for text in panel.texts] for panel in figure.axes]


def test_points_are_named_without_overlap_and_in_a_legend_where_there_is_no_room():
    figure, (panel,) = canvas.panels([""])
    panel.set(xlim=(0, 10), ylim=(0, 10))
    points = [(5, 5, "one"), (5.2, 5.2, "another"), (5.4, 4.9, "a third")]
    named = [direct_labels.Named(x, y, name, name) for x, y, name in points]
    assert direct_labels.label_points(figure, [(panel, named)])
    (shown,) = boxes(figure)
    assert len(shown) == 3
    assert not any(one.overlaps(other) for one, other in itertools.combinations(shown, 2))
    places = [panel.transData.transform(point[:2]) for point in points]
    assert not any(box.contains(*place) for box in shown for place in places)
    crowd = [direct_labels.Named(5, 5, f"a long name {i}", "m") for i in range(40)]
    figure, (panel,) = canvas.panels([""])
    panel.set(xlim=(0, 10), ylim=(0, 10))
    assert not direct_labels.label_points(figure, [(panel, crowd)])
    assert not panel.texts


def test_an_entry_of_a_legend_and_a_row_are_hidden_with_their_method(tmp_path):
    made = Made(tmp_path)
    for name in ("score_over_epochs", "scores"):
        text = draw_figure(name, made.inputs, tmp_path).read_text()
        assert re.search(r'<g data-method="lora">\s*<text[^>]*>LoRA \(own\)</text>', text), name


def test_what_was_not_measured_is_one_line_and_no_panel(tmp_path):
    made = Made(tmp_path)
    figure, _ = drawn("energy_to_threshold", made.inputs)
    assert not figure.axes
    assert figure.get_suptitle() == "Training energy to equal accuracy: not measured."
    assert figure.get_supxlabel().count("Not drawn: CoLA, RTE (") == 1
