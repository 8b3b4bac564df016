"""The page: complete, and in a real browser quiet and usable by keyboard, screen reader and phone."""

import re
import shutil

import pandas as pd
import pytest
from builders import (
    DRAWN,
    FFT,
    MERGED,
    METHODS,
    REFERENCES,
    SEEDS,
    TASKS,
    Made,
    draw_figure,
    draw_table,
    latency_inputs,
    run_content,
    timed,
    write_counts,
)

from lora_core.config.description import StudyDescription
from lora_core.evaluation.claim_rules import Claim, Verdict
from lora_core.evaluation.collect_runs import COLUMNS
from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.references import References
from lora_core.records import read_json, write_json
from lora_core.reporting import catalogue
from lora_core.reporting.claims_page import write_claims
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.page import report
from lora_core.reporting.page.report import VERDICTS, ReportInputs, write_report
from lora_core.reporting.page.runs_table import RunRow, read_runs
from lora_core.reporting.page.summary import summary
from lora_core.reporting.page.tables import GridView
from lora_core.reporting.rendering import TableFiles, write_table
from lora_core.reporting.table import Cell, Table, read_table
from lora_core.sealed import unseal

SETTINGS = DrawSettings(**DRAWN)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ODD = "</script><img src=x onerror=alert(1)>"
DIFFERENCES = ["model: a model", "precision: bf16"]
STUDY = StudyDescription("a model", f"data {ODD}", "a protocol", list(SEEDS), "length-grouped", False, DIFFERENCES)
MADE_TABLES = {"table5": {"methods": ("fft",)}, "table6": {"methods": ("lora",)}, "table3": {"latency_margin": 0.03}}
MADE_FIGURES = (
    "scores", "score_over_epochs", "score_over_time", "score_over_energy", "time_to_threshold", "energy_to_threshold",
    "memory", "latency", "pareto",
)  # fmt: skip


def write_runs(file):
    """runs.csv of a study in which the energy of one method was not measured."""
    rows = [",".join(COLUMNS)]
    for m in METHODS:
        for t in TASKS:
            for s in SEEDS:
                rows += [f"{m},{t},{s},score.best,0.8{s}", f"{m},{t},{s},train_seconds,{10 + s}"]
                if m != "vera":
                    rows.append(f"{m},{t},{s},energy.train_joules,{1000 * (2 if m == 'lora' else 4)}")
    file.write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The files of a study that was never run."""
    folder = tmp_path_factory.mktemp("results")
    study = Made(folder, energy=5000.0)
    passes = [timed(folder / "timed", {FFT: [0.5, 0.6], MERGED: [0.5, 0.7]}, task) for task in TASKS]
    write_counts(folder / "counts.json", dict.fromkeys(METHODS, 10))
    (folder / "tables").mkdir()
    for name in ("table1", "table2", "table3", "table4", "table5", "table6"):
        files = study.inputs | latency_inputs(*passes)
        table = draw_table(name, files, **MADE_TABLES.get(name, {}))
        write_table(table, STUDY, TableFiles.at(folder / "tables" / name))
    (folder / "figures").mkdir()
    figures = [draw_figure(name, study.inputs, folder / "figures") for name in MADE_FIGURES]
    claim = Claim(f"claim {ODD}", "38%", "a rule")
    verdicts = [Verdict(claim, verdict, "40%", "[39, 41]", "1%") for verdict in VERDICTS]
    claims = folder / "claims.csv"
    write_claims(verdicts, StudyDescription(**vars(STUDY) | {"differences": []}), folder / "claims.md", claims)
    write_runs(folder / "runs.csv")
    write_json(folder / "record.json", run_content())
    return ReportInputs(
        tables=sorted((folder / "tables").glob("*.json")), figures=figures, claims=claims,
        collected=folder / "runs.csv", counts=folder / "counts.json", curves=study.curves, costs=study.costs,
        runs=[folder / "record.json"], latency_records=study.inputs["latency_records"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(inputs):
    """A study's folder with its report."""
    folder = inputs.claims.parent
    write_report(inputs, SETTINGS, folder / "report.html")
    return folder


def test_the_page_shows_every_cell_and_note_of_its_tables_in_the_order_of_the_catalogue(made, inputs):
    import html

    text = html.unescape((made / "report.html").read_text())
    for file in inputs.tables:
        table = read_table(file)
        start = text.index(f"{table.heading} (")
        for cell in [*table.cells, *(table.published.cells if table.published else ())]:
            assert f">{cell.text}</td>" in text[start:]
        for note in table.notes:
            assert f"<li>{note}</li>" in text[start:]
    sections = re.findall(r'<section id="(\w+)"', text)
    assert [name for name in sections if name in catalogue.SECTIONS] == [
        "scores", "parameters", "latency", "memory", "time", "energy"
    ]  # fmt: skip
    figures = re.findall(r'<figure id="figure-(\w+)"', text)
    order = [f.name for section in catalogue.SECTIONS for f in catalogue.FIGURES.values() if f.section == section]
    assert figures == [name for name in order if name in MADE_FIGURES]


def test_a_verdict_on_another_model_is_counted_as_a_verdict_and_shown_with_its_qualification(inputs, tmp_path):
    verdicts = [Verdict(Claim(f"claim {verdict}", "38%", "a rule"), verdict) for verdict in VERDICTS]
    write_claims(verdicts, STUDY, tmp_path / "claims.md", tmp_path / "claims.csv")
    rows = pd.read_csv(tmp_path / "claims.csv", keep_default_na=False)
    assert list(rows["verdict"]) == list(VERDICTS)
    assert list(rows["qualification"]) == [*["other model, precision"] * 3, ""]
    assert "| reproduced (other model, precision) |" in (tmp_path / "claims.md").read_text()
    write_report(ReportInputs(**vars(inputs) | {"claims": tmp_path / "claims.csv"}), SETTINGS, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "this study reproduces <strong>1</strong>" in text
    assert 'class="verdict not-reproduced">not reproduced (other model, precision)</strong>' in text
    assert 'class="verdict not-measured">not measured</strong>' in text
    claims = tmp_path / "claims.csv"
    claims.write_text(claims.read_text().replace(",not reproduced,", ",reproduced,"))
    with pytest.raises(ValueError, match=r"claims\.csv was edited after it was written"):
        write_report(ReportInputs(**vars(inputs) | {"claims": claims}), SETTINGS, tmp_path / "report.html")


def test_links_lead_to_the_files_of_the_study(made):
    text = (made / "report.html").read_text()
    addresses = set(re.findall(r'href="([^#"][^"]*)"', text))
    assert {"claims.csv", "claims.md", "runs.csv", "tables/table2.json", "tables/table2.tex", "figures/scores.svg",
            "runs/lora/rte/seed2/run.json"} <= addresses  # fmt: skip
    assert all((made / address).is_file() for address in addresses if not address.startswith("runs/"))


def test_a_table_that_the_catalogue_lacks_is_refused_with_the_nearest_name(inputs, tmp_path):
    content = unseal(read_json(inputs.tables[0]), inputs.tables[0]) | {"name": "tabel9"}
    write_json(tmp_path / "tabel9.json", content)
    unlisted = ReportInputs(**vars(inputs) | {"tables": [tmp_path / "tabel9.json"]})
    with pytest.raises(ValueError, match="no table 'tabel9'; did you mean 'table"):
        write_report(unlisted, SETTINGS, tmp_path / "report.html")


def test_the_summary_is_worked_out_from_the_runs(made):
    runs, counts = read_runs(made / "runs.csv"), read_counts(made / "counts.json")
    assert summary(runs, counts, {"a CPU", "another"}, REFERENCES)[-1] == (
        "Measured on 2 devices, so time and energy have no mean."
    )
    assert summary(runs, counts, {"a CPU"}, REFERENCES) == [
        "LoRA trains 10 parameters and the head, 10 % of the model's 100.",
        "Best score, mean over tasks and seeds: full fine-tuning 82.0 %, LoRA 82.0 %.",
        "Training one run takes 12 s with full fine-tuning and 12 s with LoRA, over all planned epochs: a ratio of "
        "1.00 (geometric mean over tasks; of the sums 1.00).",
        "It takes 4 kJ with full fine-tuning and 2 kJ with LoRA, over all planned epochs: a ratio of 0.50 (geometric "
        "mean over tasks; of the sums 0.50).",
    ]
    assert summary(runs, counts, {"a CPU"}, REFERENCES, ["lora CoLA seed 1"])[-1] == (
        "Time and energy include those of disturbed runs, so their ratios decide nothing: lora CoLA seed 1."
    )


def test_the_summary_gives_the_geometric_mean_of_ratios_next_to_that_of_the_sums(tmp_path):
    seconds = {("fft", "cola"): 100.0, ("fft", "rte"): 1.0, ("lora", "cola"): 50.0, ("lora", "rte"): 8.0}
    runs = [RunRow(m, t, "1", {"score.best": "0.8", "train_seconds": str(s)}) for (m, t), s in seconds.items()]
    write_counts(tmp_path / "counts.json", {"fft": 100, "lora": 10})
    text = " ".join(summary(runs, read_counts(tmp_path / "counts.json"), {"a CPU"}, REFERENCES))
    assert "a ratio of 2.00 (geometric mean over tasks; of the sums 0.57)" in text  # (0.5 * 8) ** 0.5, and 58 / 101


def test_a_summary_without_a_reference_says_so(made):
    runs, counts = read_runs(made / "runs.csv"), read_counts(made / "counts.json")
    (sentence,) = summary(runs, counts, {"a CPU"}, References(adapter="lora"))
    assert "references.full" in sentence


def test_a_row_carries_its_method_and_a_column_its_task_if_all_cells_agree():
    cells = [
        Cell("lora, best", "CoLA", method="lora", task="cola"), Cell("lora, best", "all", method="lora"),
        Cell("both", "CoLA", method="lora", task="cola"), Cell("both", "all", method="fft"),
        Cell("unknown", "CoLA", method="LoRA", task="cola"),
    ]  # fmt: skip
    view = GridView.of(cells, "method", ["lora", "fft"])
    assert view.row_methods == ["lora", "", ""]
    assert view.column_tasks == ["", "cola", ""]
    assert Table("t", "T", "method", cells).grid() == view.grid


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[(380, "light"), (820, "dark"), (1300, "light")], ids=["phone", "tablet, dark", "desk"])
def opened(request, browser, made):
    """The page at a width and in a theme; it must stay quiet to the end of the test."""
    width, theme = request.param
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    events = []
    tab.on("console", lambda message: events.append(message.text))
    tab.on("pageerror", lambda error: events.append(str(error)))
    tab.on("dialog", lambda dialog: (events.append("a dialog"), dialog.dismiss()))
    tab.on("request", lambda request: events.append(request.url))
    url = (made / "report.html").as_uri()
    tab.goto(url)
    yield tab
    tab.close()
    assert events == [url]  # the page itself: no other request, and no message


def test_nothing_is_wider_than_the_screen_and_every_figure_is_drawn(opened):
    for details in opened.locator("details").all():
        details.evaluate("element => element.open = true")
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)"
    assert opened.evaluate(f"{wide}.map(e => e.outerHTML.slice(0, 80))") == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    figures = opened.locator("figure svg")
    assert figures.count() == 9
    for figure in figures.all():
        box = figure.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 60
        assert figure.locator("path").count() > 3
        marks = figure.locator("g[data-method]")
        assert marks.count() >= len(METHODS) - 1  # latency was timed of two
        assert all(style != "none" for style in marks.evaluate_all("all => all.map(g => getComputedStyle(g).display)"))


def test_axe_finds_nothing_serious(opened):
    from axe_playwright_python.sync_playwright import Axe

    opened.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    violations = [v for v in Axe().run(opened).response["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:100]) for v in violations] == []


def shown_runs(tab):
    return tab.locator("#runs-table tbody tr:visible").count()


def test_runs_are_filtered_and_sorted(opened):
    everything = len(METHODS) * len(TASKS) * len(SEEDS)
    assert shown_runs(opened) == everything
    opened.locator("#filter").fill("lora cola 2")
    assert shown_runs(opened) == 1
    opened.locator("#filter").fill("lora cola")
    assert shown_runs(opened) == len(SEEDS)
    assert opened.locator("#filter-count").text_content() == f"{len(SEEDS)} of {everything} runs"
    opened.locator("#filter").fill("")
    opened.locator("#runs-table button", has_text="train, s").dispatch_event("click")
    opened.locator("#runs-table button", has_text="energy, kJ").dispatch_event("click")
    first = opened.locator("#runs-table tbody tr").first
    last = opened.locator("#runs-table tbody tr").last
    assert first.locator("th").text_content() == "lora"  # the least energy, and of that the least time
    assert first.locator("td").nth(1).text_content() == "1"
    assert last.locator("th").text_content() == "vera"  # not measured
    opened.locator("#runs-table button", has_text="energy, kJ").dispatch_event("click")
    assert opened.locator("#runs-table tbody tr").first.locator("th").text_content() == "fft"
    assert opened.locator("#runs-table tbody tr").last.locator("th").text_content() == "vera"


def test_a_threshold_moves_what_it_costs(opened):
    def cost(percent):
        opened.locator("#threshold-score").evaluate(
            "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input', {bubbles: true})) }", percent
        )
        row = opened.locator("#threshold-table tbody tr", has_text="lora").locator("td")
        return [cell.text_content() for cell in row.all()]

    assert opened.locator("#threshold-value").text_content() == "75.0 %"  # the study's threshold
    # Scores of 25, 50 and 75 % after 10 s and 5 kJ an epoch.
    assert cost(50) == ["3 of 3", "2.0", "20.0", "10.0"]
    assert cost(75) == ["3 of 3", "3.0", "30.0", "15.0"]
    assert cost(25) == ["3 of 3", "1.0", "10.0", "5.00"]


def test_a_run_that_never_reaches_the_chosen_threshold_counts_as_the_most_expensive(opened):
    def cost(total, *seconds):
        """The cell of the time, if `total` runs reached 50 % after `seconds` or never."""
        opened.evaluate(
            """([total, seconds]) => {
                const task = document.getElementById("threshold-task").value;
                curves[task].runs = Array.from({ length: total }, (_, i) => ({
                    method: "lora", name: "lora",
                    epochs: [[i < seconds.length ? 0.5 : 0.1, seconds[i] ?? 999, null]] }));
                const slider = document.getElementById("threshold-score");
                slider.value = 50;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
            }""",
            [total, seconds],
        )
        return [cell.text_content() for cell in opened.locator("#threshold-table tbody tr").first.locator("td").all()]

    assert cost(3, 20, 100) == ["2 of 3", "1.0", "100.0", "n/a"]  # the mean of those that reached it is 60
    assert cost(4, 20, 100) == ["2 of 4", "≥ 1.0", "≥ 100.0", "n/a"]
    assert cost(3, 20) == ["1 of 3", "not reached", "not reached", "n/a"]
    assert cost(2) == ["0 of 2", "not reached", "not reached", "not reached"]


def test_methods_and_tasks_can_be_left_out_by_keyboard(opened):
    box = opened.locator('#choice input[value="vera"]')
    box.focus()
    opened.keyboard.press("Space")
    assert not box.is_checked()
    assert opened.locator('[data-method="vera"]:visible').count() == 0
    assert opened.locator('[data-method="lora"]:visible').count() > 0
    assert opened.locator("#threshold-table tbody tr").count() == len(METHODS) - 1
    opened.locator('#choice input[value="rte"]').focus()
    opened.keyboard.press("Space")
    assert opened.locator('td[data-column="rte"]:visible').count() == 0
    assert shown_runs(opened) == (len(METHODS) - 1) * len(SEEDS)


def test_what_a_name_says_stays_text(opened):
    assert opened.locator("header p").first.text_content().count(ODD) == 1
    assert opened.locator("img").count() == 0


HARMFUL = (
    '<script>document.title = "ran"; console.log("ran")</script><g onload="console.log(1)"/>'
    '<image href="x" onerror="console.log(2)"/><style>h1 { display: none }</style>'
    '<set attributeName="onmouseover" to="console.log(3)"/>'
    '<animate onbegin="console.log(4)" attributeName="x" dur="1s"/>'
    '<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><img src="x" onerror="console.log(5)"/></body>'
    "</foreignObject>"
)


@pytest.mark.parametrize("unsanitized", [False, True], ids=["left out", "blocked by the policy"])
def test_a_script_in_a_figure_does_not_run(browser, inputs, tmp_path, monkeypatch, unsanitized):
    figures = [tmp_path / file.name for file in inputs.figures]
    for file, original in zip(figures, inputs.figures, strict=True):
        file.write_text(original.read_text().replace("</svg>", f"{HARMFUL}</svg>"))
    if unsanitized:
        monkeypatch.setattr(report, "read_svg", lambda path: path.read_text().partition("<svg")[2].join(["<svg", ""]))
    write_report(ReportInputs(**vars(inputs) | {"figures": figures}), SETTINGS, tmp_path / "report.html")
    tab = browser.new_page()
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.goto((tmp_path / "report.html").as_uri())
    tab.mouse.move(300, 300)
    tab.wait_for_timeout(300)
    assert tab.title() != "ran"
    assert [text for text in messages if "Content Security Policy" not in text] == []
    assert tab.locator("#runs-table tbody tr:visible").count() > 0
    assert tab.locator("#filter-count").text_content() != ""  # the page's own script ran
    if unsanitized:
        assert any("script-src" in text for text in messages)
    else:
        assert messages == []
        assert tab.locator("h1").is_visible()
        assert tab.locator("figure script, figure style, figure image, figure foreignObject").count() == 0
    tab.close()
