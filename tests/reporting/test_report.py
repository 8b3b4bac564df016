"""The page: complete, and in a real browser quiet and usable by keyboard, screen reader and phone."""

import html
import re
import shutil
from dataclasses import fields, replace

import embedded_study
import pandas as pd
import pytest
from builders import (
    DRAWN,
    FFT,
    MERGED,
    METHOD_LABELS,
    METHODS,
    NO_METER,
    SEEDS,
    TASKS,
    Made,
    draw_figure,
    draw_table,
    latency_inputs,
    timed,
    write_counts,
)
from embedded_study import write_runs

from lora_core.config.description import StudyDescription
from lora_core.data.card import DataCard
from lora_core.data.overlap import Repeats
from lora_core.evaluation.claim_rules import GPU, METER, MORE_SEEDS, UNDECIDED, UNMEASURED, Claim, Verdict
from lora_core.evaluation.claims import CLAIMS as CLAIMS_OF_THE_PAPER
from lora_core.kept_runs import KeptRun, write_kept
from lora_core.records import read_json, sha256, write_json
from lora_core.reporting import catalogue
from lora_core.reporting.claims_page import write_claims
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.page import sections
from lora_core.reporting.page.claim_groups import VERDICTS, ClaimsView
from lora_core.reporting.page.overlap_lines import overlap_lines
from lora_core.reporting.page.report import ReportInputs, write_report
from lora_core.reporting.page.tables import GridView
from lora_core.reporting.rendering import TableFiles, write_table
from lora_core.reporting.table import Cell, Published, Table, read_table
from lora_core.sealed import SEAL, seal, unseal

SETTINGS = DrawSettings(**DRAWN, latency_margin=0.03)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ODD = "</script><img src=x onerror=alert(1)>"
DIFFERENCES = ["model: a model", "precision: bf16"]
STUDY = StudyDescription("a model", f"data {ODD}", "a protocol", list(SEEDS), "length-grouped", False, DIFFERENCES)
MADE_TABLES = {"table5": {"methods": ("fft",)}, "table6": {"methods": ("lora",)}, "table3": {"latency_margin": 0.03}}
MADE_FIGURES = (
    "scores", "score_over_epochs", "score_over_time", "score_over_energy", "time_to_threshold", "energy_to_threshold",
    "memory", "latency", "pareto",
)  # fmt: skip


def report_inputs(folder, **shape):
    """The files of a study that was never run."""
    study = Made(folder, energy=5000.0, **shape)
    tasks = shape.get("tasks", TASKS)
    passes = [timed(folder / "timed", {FFT: [0.5, 0.6], MERGED: [0.5, 0.7]}, task) for task in tasks]
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
    metered = [method for method in METHODS if method != "vera"]
    write_runs(folder / "runs.csv", METHODS, tasks, shape.get("seeds", SEEDS), metered)
    records = {name: study.inputs[name] for name in ("differences", "curves", "costs", "latency", "latency_records")}
    return ReportInputs(
        tables=sorted((folder / "tables").glob("*.json")), figures=figures, claims=claims,
        collected=folder / "runs.csv", counts=folder / "counts.json", runs=study.runs, **records,
    )  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return report_inputs(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def made(inputs):
    """A study's folder with its report."""
    folder = inputs.claims.parent
    write_report(inputs, SETTINGS, folder / "report.html")
    return folder


def test_the_page_shows_every_cell_and_note_of_its_tables_in_the_order_of_the_catalogue(made, inputs):
    text = html.unescape((made / "report.html").read_text())
    for file in inputs.tables:
        table = read_table(file)
        start = text.index(f"<caption>{table.heading}</caption>")
        for cell in [*table.cells, *(table.published.cells if table.published else ())]:
            assert f">{cell.text}</td>" in text[start:]
        for note in table.notes:
            assert f'<li class="says">{note}</li>' in text[start:]
    names = re.findall(r'<section id="(\w+)"', text)
    assert [name for name in names if name in catalogue.SECTIONS] == [
        "parameters", "scores", "latency", "memory", "cost"
    ]  # fmt: skip
    assert set(re.findall(r'<figure id="figure-(\w+)"', text)) == set(MADE_FIGURES)


def test_the_note_on_ratios_stands_right_below_the_table_of_latency(made):
    section = (made / "report.html").read_text().partition('<section id="latency"')[2].partition("<details>")[0]
    assert '<p class="footnote">Ratios: of times within a round' in section


def test_every_section_is_headed_by_its_topic_and_a_conclusion(made):
    headings = re.findall(r'<h2 id="(\w+)-heading">(.*)</h2>', (made / "report.html").read_text())
    assert {"tradeoff", "claims", "runs", "threshold", "cost"} < {name for name, _ in headings}
    for name, text in headings:
        topic, _, conclusion = text.partition("</span> ")
        assert topic.startswith('<span class="topic">'), name
        assert re.search(r"\w", re.sub("<[^>]*>", "", conclusion)), name


def test_a_verdict_on_another_model_is_counted_as_a_verdict_and_shown_with_its_qualification(inputs, tmp_path):
    verdicts = [Verdict(Claim(f"claim {verdict}", "38%", "a rule"), verdict) for verdict in VERDICTS]
    write_claims(verdicts, STUDY, tmp_path / "claims.md", tmp_path / "claims.csv")
    rows = pd.read_csv(tmp_path / "claims.csv", keep_default_na=False)
    assert list(rows["verdict"]) == list(VERDICTS)
    assert list(rows["qualification"]) == [*["other model, precision"] * 3, ""]
    assert "| reproduced (other model, precision) |" in (tmp_path / "claims.md").read_text()
    write_report(ReportInputs(**vars(inputs) | {"claims": tmp_path / "claims.csv"}), SETTINGS, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "Of 4 claims of the paper: 1 reproduced, 1 not reproduced, 1 undecided, 1 not measured<" in text
    assert 'class="verdict not-reproduced">not reproduced (other model, precision)</strong>' in text
    assert 'class="verdict not-measured">not measured</strong>' in text
    claims = tmp_path / "claims.csv"
    claims.write_text(claims.read_text().replace(",not reproduced,", ",reproduced,"))
    with pytest.raises(ValueError, match=r"claims\.csv was edited after it was written"):
        write_report(ReportInputs(**vars(inputs) | {"claims": claims}), SETTINGS, tmp_path / "report.html")


def test_the_page_marks_the_runs_that_were_kept_and_says_why(inputs, tmp_path):
    record = tmp_path / "runs/lora/cola/seed1/run.json"
    write_json(record, {})
    because = "<b>nothing</b> of importance"
    kept = KeptRun("lora", "cola", 1, because, "2026-11-27T05:00:00+00:00", sha256(record), "c0de", ["code: a.py"])
    write_kept(record, kept)
    files = vars(inputs) | {"kept": [record.with_name("kept.json")]}
    write_report(ReportInputs(**files), SETTINGS, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    rows = re.findall(r'<tr data-method="(\w+)" data-task="(\w+)">.*?data-sort="\d+">(\d+ †)</td>', text)
    assert rows == [("lora", "cola", "1 †")]
    assert f"because “{html.escape(because)}”" in text
    assert "<b>nothing" not in text


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


def test_the_figures_of_the_page_are_in_the_folds_except_one_in_each_section(made):
    from html.parser import HTMLParser

    class Page(HTMLParser):
        folds, open_figures = 0, ()

        def handle_starttag(self, tag, attributes):
            self.folds += tag == "details"
            if tag == "figure" and not self.folds:
                self.open_figures += (dict(attributes)["id"],)

        def handle_endtag(self, tag):
            self.folds -= tag == "details"

    page = Page()
    page.feed((made / "report.html").read_text())
    assert page.folds == 0
    assert page.open_figures == tuple(
        f"figure-{name}"
        for name in ("pareto", "scores", "latency", "memory", "time_to_threshold", "energy_to_threshold")
    )


def test_open_claims_are_grouped_by_what_would_decide_them():
    def claim(verdict, needs=""):
        return {"verdict": verdict, "needs": needs}

    rows = [
        claim(UNMEASURED, GPU), claim(UNDECIDED, MORE_SEEDS), claim("reproduced"), claim(UNMEASURED, METER),
        claim(UNDECIDED, MORE_SEEDS), claim("not reproduced"), claim(UNDECIDED, "quiet"), claim(UNMEASURED),
    ]  # fmt: skip
    view = ClaimsView.of(rows, 2)
    assert view.sentence == "Of 8 claims of the paper: 1 reproduced, 1 not reproduced, 3 undecided, 3 not measured."
    assert [row["verdict"] for row in view.decided] == ["reproduced", "not reproduced"]
    assert [(group.title, len(group.claims)) for group in view.open] == [
        ("2 undecided with 2 seeds: three seeds decide", 2),
        ("1 undecided: it needs quiet", 1),
        ("2 not measured: they need a GPU or a power meter", 2),
        ("1 not measured for other reasons", 1),
    ]
    assert [group.title for group in ClaimsView.of([claim(UNMEASURED, METER)], 1).open] == [
        "1 not measured: it needs a power meter"
    ]


CONCLUSION = "LoRA takes 40 % & less <here>"


@pytest.fixture
def narrow(inputs, tmp_path):
    """A page with a figure that concludes and has a form for narrow screens, and one without a title."""
    scores, memory = (next(file for file in inputs.figures if file.stem == name) for name in ("scores", "memory"))
    titled = re.sub(r"(<svg[^>]*>)", rf"\1<title>{html.escape(CONCLUSION)}</title>", scores.read_text(), count=1)
    files = [tmp_path / "scores.svg", tmp_path / "scores-narrow.svg"]
    for file in files:
        file.write_text(titled)
    untitled = tmp_path / "memory.svg"
    untitled.write_text(re.sub(r"<title>[^<]*</title>", "", memory.read_text(), count=1))
    figures = [*(file for file in inputs.figures if file not in (scores, memory)), untitled, *files]
    write_report(ReportInputs(**vars(inputs) | {"figures": figures}), SETTINGS, tmp_path / "report.html")
    return tmp_path / "report.html"


def test_a_figure_says_what_its_own_title_concludes_else_the_title_of_the_catalogue(narrow):
    text = narrow.read_text()
    assert re.search(rf'<figcaption><span class="caption spoken"[^>]*>{html.escape(CONCLUSION)}</span>', text)
    assert text.count(f'aria-label="Figure: {html.escape(CONCLUSION)}. Its numbers are in figures/scores.csv."') == 2
    assert f"<title>{html.escape(CONCLUSION)}</title>" not in text  # a tooltip all over the figure
    subject = catalogue.figure("memory").title
    assert f'<figcaption><span class="caption" data-figure="memory" data-plain="{subject}">{subject}</span>' in text


@pytest.mark.parametrize(("width", "shown"), [(380, "narrow"), (900, "wide"), (1400, "wide")])
def test_a_narrow_screen_shows_the_narrow_figure(browser, narrow, width, shown):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto(narrow.as_uri())
    visible = tab.locator("#figure-scores svg:visible")
    assert visible.count() == 1
    assert visible.locator("xpath=..").get_attribute("class") == shown
    tab.close()


def test_details_of_a_table_are_folded_in_its_section(inputs, tmp_path, monkeypatch):
    import dataclasses

    details = dataclasses.replace(catalogue.table("table1"), name="table1-details", title="Details")
    monkeypatch.setitem(catalogue.TABLES, "table1-details", details)
    content = unseal(read_json(inputs.tables[0]), inputs.tables[0])
    file = tmp_path / "table1-details.json"
    write_json(file, content | {"name": "table1-details", "title": "Details", "published": None})
    more = ReportInputs(**vars(inputs) | {"tables": [*inputs.tables, file]})
    write_report(more, SETTINGS, tmp_path / "report.html")
    section = (tmp_path / "report.html").read_text().partition('<section id="parameters"')[2].partition("</section>")[0]
    shown, _, folded = section.partition("<details>")
    assert shown.count("<table>") == 1
    assert "Details</caption>" in folded
    assert "Details, method and provenance" in folded


def test_a_row_carries_its_method_and_a_column_its_task_if_all_cells_agree():
    cells = [
        Cell("lora, best", "CoLA", method="lora", task="cola"), Cell("lora, best", "all", method="lora"),
        Cell("both", "CoLA", method="lora", task="cola"), Cell("both", "all", method="fft"),
        Cell("unknown", "CoLA", method="LoRA", task="cola"),
    ]  # fmt: skip
    view = GridView.of(cells, "method", METHOD_LABELS)
    assert view.row_methods == ["lora", "", ""]
    assert view.column_tasks == ["", "cola", ""]
    assert Table("t", "T", "method", cells).grid() == view.grid


def test_a_column_that_lists_methods_and_tasks_says_which():
    cells = [
        *(Cell("rank", "LoRA (own), LoRA (loralib): CoLA, RTE", 8, method=method, task=task)
          for method in ("lora", "lora_ref") for task in ("cola", "rte")),
        Cell("rank", "Full fine-tuning", None, method="fft", task="cola"),
        Cell("rank", "all", 8, method="lora", task="cola"),
    ]  # fmt: skip
    shared, full, other = GridView.of(cells, "hyperparameter", METHOD_LABELS).column_names[1:]
    assert shared.methods == [("lora", "LoRA (own)"), ("lora_ref", "LoRA (loralib)")]
    assert shared.tasks == [("cola", "CoLA"), ("rte", "RTE")]
    assert (full.methods, full.tasks, other) == ([("fft", "Full fine-tuning")], [("cola", "CoLA")], None)
    assert (shared.lists_tasks, full.lists_tasks) == (True, False)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[(380, "light"), (900, "dark"), (1400, "light")], ids=["phone", "tablet, dark", "desk"])
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
    figures = opened.locator("figure svg:visible")
    assert figures.count() == len(MADE_FIGURES) - 1  # a plot stands for one of them
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
    opened.locator("#runs details").evaluate("element => element.open = true")
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
    assert first.locator("th").text_content() == "LoRA (own)"  # the least energy, and of that the least time
    assert first.locator("td").nth(1).text_content() == "1"
    assert last.locator("th").text_content() == "vera"  # not measured
    opened.locator("#runs-table button", has_text="energy, kJ").dispatch_event("click")
    assert opened.locator("#runs-table tbody tr").first.locator("th").text_content() == "Full fine-tuning"
    assert opened.locator("#runs-table tbody tr").last.locator("th").text_content() == "vera"


def test_a_threshold_moves_what_it_costs(opened):
    def cost(percent):
        opened.locator("#threshold-score").evaluate(
            "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input', {bubbles: true})) }", percent
        )
        row = opened.locator("#threshold-table tbody tr", has_text="LoRA").locator("td")
        return [cell.text_content() for cell in row.all()]

    assert opened.locator("#threshold-value").text_content() == "75.0\u00a0%"  # the study's threshold
    # Scores of 25, 50 and 75 % after 10 s and 5 kJ an epoch.
    assert cost(50) == ["3 of 3", "2.0", "20.0", "10.0"]
    assert cost(75) == ["3 of 3", "3.0", "30.0", "15.0"]
    assert cost(25) == ["3 of 3", "1.0", "10.0", "5.00"]


def test_the_studys_threshold_is_exact_although_the_slider_has_steps(opened):
    shown, cells = opened.evaluate(
        """() => {
            const task = document.getElementById("threshold-task").value;
            curves[task].threshold = 0.7325;
            curves[task].runs = [{ method: "lora", name: "lora", epochs: [[0.7326, 10, null]] }];
            document.getElementById("choice").dispatchEvent(new Event("change"));
            return [document.getElementById("threshold-value").textContent,
                    document.querySelector("#threshold-table tbody td").textContent];
        }"""
    )
    assert (shown, cells) == ("73.25\u00a0%", "1 of 1")


def test_the_unit_of_a_table_is_shown_on_every_screen(opened):
    for name, unit in (
        ("scores", "score, %"),
        ("latency", "seconds per pass"),
        ("memory", "process memory on a CPU, MB"),
    ):
        head = opened.locator(f"#{name} .table thead th").first
        assert head.text_content() == f"method ({unit})"
        assert head.is_visible()


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


def test_a_disturbed_run_is_marked_in_the_costs_of_its_method(opened):
    mark = opened.locator("#threshold-mark")
    assert mark.is_hidden()
    opened.evaluate(
        """() => {
            const run = (method, disturbed) => ({ method, name: method, disturbed, epochs: [[0.9, 10, 2e6]] });
            const task = document.getElementById("threshold-task").value;
            curves[task].runs = [run("lora", false), run("lora", true), run("fft", false)];
            document.getElementById("choice").dispatchEvent(new Event("change"));
        }"""
    )
    texts = [row.locator("td").all_text_contents() for row in opened.locator("#threshold-table tbody tr").all()]
    assert texts == [["2 of 2", "1.0", "10.0 *", "2,000 *"], ["1 of 1", "1.0", "10.0", "2,000"]]
    assert mark.is_visible()


def test_a_bar_without_an_end_is_hatched_and_never_the_shorter(opened):
    bars = opened.evaluate(
        """() => {
            const task = document.getElementById("threshold-task").value;
            const run = (method, score, seconds) => ({ method, name: method, epochs: [[score, seconds, null]] });
            curves[task].runs = [
                run("lora", 0.9, 10), run("lora", 0.1, 999), run("fft", 0.9, 30), run("fft", 0.9, 50),
                run("vera", 0.1, 9),
            ];
            const slider = document.getElementById("threshold-score");
            slider.value = 50;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            return [...document.querySelectorAll("#threshold-table .bar")].map((bar) => [
                bar.closest("td").textContent, bar.classList.contains("bound"), bar.getBoundingClientRect().width,
            ]);
        }"""
    )
    assert [(text, bound) for text, bound, _ in bars] == [("≥ 10.0", True), ("40.0", False), ("not reached", True)]
    lora, fft, vera = (width for *_, width in bars)
    assert lora == vera > fft > 20


def test_methods_and_tasks_can_be_left_out_by_keyboard_everywhere(opened):
    opened.locator("#runs details").evaluate("element => element.open = true")
    box = opened.locator('#choice input[value="vera"]')
    box.focus()
    opened.keyboard.press("Space")
    assert not box.is_checked()
    assert opened.locator('[data-method="vera"]:visible').count() == 0
    assert opened.locator('[data-method="lora"]:visible').count() > 0
    assert opened.locator("#threshold-table tbody tr").count() == len(METHODS) - 1
    assert opened.locator("#plot svg").get_attribute("aria-label").count("vera") == 0
    opened.locator('#choice input[value="rte"]').focus()
    opened.keyboard.press("Space")
    assert opened.locator('td[data-column="rte"]:visible').count() == 0
    assert opened.locator('svg [data-task="rte"]:visible').count() == 0
    assert opened.locator('#threshold-task option[value="rte"]').is_disabled()
    assert opened.locator("#plot-note").text_content().startswith("Means over 1 task ")
    assert shown_runs(opened) == (len(METHODS) - 1) * len(SEEDS)
    opened.locator('#choice input[value="cola"]').focus()
    opened.keyboard.press("Space")
    assert opened.locator("#threshold-table tbody tr").count() == 0
    assert opened.locator("#plot svg").count() == 0


DISTURBED_RUNS = "2 of 4 runs were disturbed: vera CoLA seed 1"
CLAIMS = [
    ("LoRA (own) scores as much", f"CoLA −4.3, RTE −1.0 ({DISTURBED_RUNS})", "on both tasks", ""),
    ("the gap on RTE comes from MNLI", "n/a", "runs on RTE", "time"),
    ("vera is faster", "CoLA 2.0", "LoRA (own) / full fine-tuning", "time"),
]  # fmt: skip
SENTENCE = "vera differs from LoRA (own) by at most 1 % of the loss."


@pytest.fixture
def choosing(browser, inputs, tmp_path):
    """A page whose table 7, claims and a figure name methods and tasks, with a function that leaves some out."""
    columns = {"LoRA (own), vera: CoLA, RTE": ("lora", "vera"), "Full fine-tuning": ("fft",)}
    cells = [
        Cell("rank", column, 8, "8", method=method, task=task)
        for column, methods in columns.items() for method in methods for task in ("cola", "rte")
    ]  # fmt: skip
    write_table(Table("table7", "Hyperparameters", "name", cells), STUDY, TableFiles.at(tmp_path / "table7"))
    verdicts = [
        Verdict(Claim(title, "38 % (CoLA)", rule), UNDECIDED, ours, "CoLA [1, 2], RTE [3, 4]", "1 %", needs=needs)
        for title, ours, rule, needs in CLAIMS
    ]
    write_claims(verdicts, STUDY, tmp_path / "claims.md", tmp_path / "claims.csv")
    scores = next(file for file in inputs.figures if file.stem == "scores")
    drawn = f"<title>{SENTENCE}</title><g><text>vera differs from LoRA</text><text>(own) by at most 1 %</text></g>"
    (tmp_path / "scores.svg").write_text(
        re.sub(r"(<svg[^>]*>)\s*(<title>.*?</title>)?", rf"\1{drawn}", scores.read_text(), count=1)
    )
    files = {
        "tables": [*inputs.tables, tmp_path / "table7.json"], "claims": tmp_path / "claims.csv",
        "figures": [*(file for file in inputs.figures if file != scores), tmp_path / "scores.svg"],
    }  # fmt: skip
    write_report(ReportInputs(**vars(inputs) | files), SETTINGS, tmp_path / "report.html")
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.goto((tmp_path / "report.html").as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")

    def choose(*left_out):
        tab.evaluate(
            """names => {
                document.querySelectorAll("#choice input").forEach((box) => (box.checked = !names.includes(box.value)));
                document.getElementById("choice").dispatchEvent(new Event("change"));
            }""",
            left_out,
        )
        return tab

    yield choose
    tab.close()


@pytest.mark.parametrize(
    ("left_out", "columns"),
    [
        ([], ["LoRA (own), vera: CoLA, RTE", "Full fine-tuning"]),
        (["vera", "cola"], ["LoRA (own): RTE", "Full fine-tuning"]),
        (["lora", "vera"], ["Full fine-tuning"]),
        (["fft"], ["LoRA (own), vera: CoLA, RTE"]),
        (["cola", "rte"], []),
    ],
)
def test_a_shared_column_loses_the_name_of_what_is_left_out_and_goes_with_its_last(choosing, left_out, columns):
    tab = choosing(*left_out)
    assert tab.locator("#hyperparameters thead th:visible").all_text_contents()[1:] == columns
    assert [c.get_attribute("data-label") for c in tab.locator("#hyperparameters td:visible").all()] == columns
    assert choosing().locator("#hyperparameters thead th:visible").count() == 3


@pytest.mark.parametrize(
    ("left_out", "titles", "ours", "counts"),
    [
        ([], [0, 1, 2], "CoLA −4.3, RTE −1.0 (" + DISTURBED_RUNS + ")", "3 claims"),
        (["cola"], [0, 1, 2], "RTE −1.0", "3 claims"),
        (["rte"], [0, 2], "CoLA −4.3", "2 claims"),
        (["vera"], [0, 1], "CoLA −4.3, RTE −1.0", "2 claims"),
        (["fft"], [0, 1], "CoLA −4.3, RTE −1.0 (" + DISTURBED_RUNS + ")", "2 claims"),
        (["lora"], [1], None, "1 claim"),
    ],
)
def test_claims_about_what_is_left_out_go_with_their_parts_and_are_not_counted(
    choosing, left_out, titles, ours, counts
):
    tab = choosing(*left_out)
    claims = tab.locator(".claims li:visible")
    assert claims.locator("p:first-child .about").all_text_contents() == [CLAIMS[i][0] for i in titles]
    if ours:
        assert claims.first.locator(".parts").first.text_content() == ours
    sentence = tab.locator("#claim-counts").text_content()
    assert sentence.startswith(f"Of {counts} ")
    assert f" {len(titles)} undecided, " in sentence
    assert tab.locator("#claims > details:visible > summary").count() == len({CLAIMS[i][3] for i in titles})
    assert tab.locator("#left-out").is_visible() == bool(left_out)


@pytest.mark.parametrize("left_out", ["vera", "lora"])
def test_a_caption_that_names_what_is_left_out_says_what_the_figure_shows_instead(choosing, left_out):
    figure = choosing().locator("#figure-scores")
    subject = catalogue.figure("scores").title
    assert figure.locator(".caption").text_content() == SENTENCE
    assert figure.locator("text >> text=differs from").is_visible()
    assert choosing(left_out).locator("#figure-scores .caption").text_content() == subject
    assert not figure.locator("text >> text=differs from").is_visible()
    assert subject in figure.locator("svg").get_attribute("aria-label")
    assert choosing("rte").locator("#figure-scores .caption").text_content() == SENTENCE


def shown_texts(tab):
    """The texts that a reader sees, of the page and of its figures."""
    return tab.evaluate(
        """() => {
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), shown = [];
            while (texts.nextNode()) {
                const element = texts.currentNode.parentElement;
                const hides = "#choice, [style*='display: none']";  // of shapes, checkVisibility says nothing
                if (element.checkVisibility() && !element.closest(hides)) shown.push(texts.currentNode.data);
            }
            return shown;
        }"""
    )


@pytest.mark.parametrize(("left_out", "other"), [("vera", "lora"), ("lora", "fft"), ("fft", "vera")])
def test_nothing_on_the_page_names_a_method_that_is_left_out(choosing, left_out, other):
    labels = METHOD_LABELS | {"vera": "vera"}
    shown = shown_texts(choosing(left_out))
    assert any(labels[other] in text for text in shown)
    name = re.compile(rf"(?<!\w){re.escape(labels[left_out])}(?!\w)", re.IGNORECASE)
    # The heading of table 5, which is about it alone, is that of a table of the paper.
    assert [text for text in shown if name.search(text)] == []


@pytest.mark.parametrize("left_out", ["lora", "fft"])
def test_no_number_of_the_comparison_is_left_without_one_of_its_methods(choosing, left_out):
    """A conclusion such as "tensors, counted: 0.28 (108 / 387 MB)" names neither of them."""
    tab = choosing()
    conclusions = "main h2 .says, main .conclusion.says"
    before = tab.locator(f"{conclusions}:visible").all_text_contents()
    counted = [text for text in before if "tensors, counted: 1.00 (200 / 200 MB)" in text]
    assert len(counted) == 1
    shown = choosing(left_out).locator("main").locator("h2 .says:visible, .conclusion.says:visible")
    assert not {"memory", "cost", "parameters", "latency"} & set(
        shown.evaluate_all("all => all.map(text => text.closest('section').id)")
    )
    assert counted[0] in choosing("vera").locator("#memory h2").text_content()
    assert tab.locator("#memory h2 .says").is_visible()


def test_a_table_of_methods_that_are_left_out_goes_with_its_notes(choosing):
    tab = choosing("fft")
    assert tab.locator("#cost [data-table=table5]:visible").count() == 0
    assert tab.locator("#cost [data-table=table6]:visible").count() == 2  # the table and its notes
    assert choosing("lora", "vera").locator("#cost [data-table=table6]:visible").count() == 0
    assert tab.locator("#cost [data-table=table5]:visible").count() == 2


def test_the_first_screen_says_what_lora_bought_how_sure_that_is_and_what_was_not_measured(opened):
    header = opened.locator("header")
    assert opened.locator("#verdict").text_content().startswith("On 2 tasks with 3 seeds, LoRA (own) scored ")
    items = header.locator(".strip li")
    assert items.count() == 7
    states = [item.locator(".state").text_content() for item in items.all()]
    assert {state.partition(":")[0] for state in states} == {"decided", "undecided", "not measured"}
    last = items.last.bounding_box()
    assert last["y"] + last["height"] <= 900
    memory = items.nth(2)
    assert memory.locator("strong").text_content() == "n/a"
    assert "needs a GPU" in memory.text_content()


def test_the_plot_shows_the_cost_that_is_chosen_with_labels_that_cover_nothing(opened):
    assert opened.locator("#plot-static").is_hidden()
    plot = opened.locator("#plot svg")
    for cost in opened.locator("#plot-cost option:enabled").all():
        opened.locator("#plot-cost").select_option(cost.get_attribute("value"))
        title = cost.text_content()
        assert title in plot.get_attribute("aria-label")
        has_point = {mark.get_attribute("data-method") for mark in plot.locator("g[data-method]").all()}
        assert has_point == ({"fft", "lora"} if title.startswith("time of a pass") else set(METHODS))
        boxes = [text.bounding_box() for text in plot.locator("text[data-method]").all()]
        boxes += [point.bounding_box() for point in plot.locator("g[data-method]").all()[:1]]
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                apart_x = a["x"] >= b["x"] + b["width"] - 1 or b["x"] >= a["x"] + a["width"] - 1
                apart_y = a["y"] >= b["y"] + b["height"] - 4 or b["y"] >= a["y"] + a["height"] - 4
                assert apart_x or apart_y
    assert opened.locator("#plot-cost option").count() == 5


def test_the_title_of_the_plots_axis_covers_no_number(opened):
    """Scores that are close to each other have numbers with decimals, which are wider."""
    opened.evaluate("plotted.points.forEach((point, i) => (point.score = 71.2 + 0.01 * i)); plot()")
    texts = opened.locator("#plot text:not([data-method])")
    boxes = {text.text_content(): text.bounding_box() for text in texts.all()}
    title = boxes.pop("mean score, %")
    assert "71.5" in boxes
    for text, box in boxes.items():
        assert box["x"] >= title["x"] + title["width"] or box["y"] >= title["y"] + title["height"], text
        assert box["x"] >= opened.locator("#plot").bounding_box()["x"], text


def test_without_scripts_the_page_shows_the_figure_of_the_study(browser, made):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((made / "report.html").as_uri())
    assert tab.locator("#figure-pareto svg").is_visible()
    assert tab.locator("#plot-area").is_hidden()
    assert tab.locator("#verdict").is_visible()
    context.close()


def test_what_is_printed_has_every_fold_open_and_the_page_has_them_closed_again(opened):
    before = opened.locator("details[open]").count()
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.emulate_media(media="print")
    assert opened.locator("details:not([open])").count() == 0
    assert opened.locator("#choice").is_hidden()
    assert opened.evaluate("getComputedStyle(document.body).color") == "rgb(26, 26, 26)"  # in the dark theme too
    assert opened.locator("#verdict").is_visible()
    assert opened.evaluate("getComputedStyle(document.querySelector('h2 .topic').parentNode).breakInside") == "avoid"
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("details[open]").count() == before


def test_on_a4_paper_no_table_is_wider_than_the_page(opened):
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.emulate_media(media="print")
    opened.set_viewport_size({"width": 680, "height": 1000})  # 210 mm less two margins of 15 mm, at 96 pixels an inch
    tables = "[...document.querySelectorAll('table')].filter(table => table.scrollWidth > 0)"
    rights = opened.evaluate(f"{tables}.map(table => [table.id, table.getBoundingClientRect().right])")
    assert "runs-table" in [name for name, _ in rights]
    assert [name for name, right in rights if right > 680] == []


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The page of a study like the embedded one, on a machine without a meter."""
    folder = tmp_path_factory.mktemp("embedded")
    write_report(embedded_study.report_inputs(folder), embedded_study.draw_settings(), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def embedded_metered(tmp_path_factory):
    """The same on a machine with one, which has more rows and figures."""
    folder = tmp_path_factory.mktemp("metered")
    inputs = embedded_study.report_inputs(folder, energy=5000.0)
    write_report(inputs, embedded_study.draw_settings(), folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("page", ["embedded", "embedded_metered"])
@pytest.mark.parametrize(("width", "most"), [(380, 14_000), (1400, 6_000)])
def test_the_page_of_the_embedded_study_is_not_long(browser, request, page, width, most):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto(request.getfixturevalue(page).as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(element => element.open = false)")
    assert 2000 < tab.evaluate("document.documentElement.scrollHeight") <= most
    tab.close()


def test_the_page_of_the_embedded_study_has_every_table_figure_and_claim(embedded, embedded_metered):
    tables, figures = catalogue.default_tables(), catalogue.default_figures(methods_equal_to_lora=True)
    for page, absent in ((embedded, {"energy_to_threshold", "score_over_energy", "power"}), (embedded_metered, set())):
        text = page.read_text()
        assert set(re.findall(r'<figure id="figure-(\w+)"', text)) == set(figures) - absent
        assert {name for name in tables if f'data-table="{name}"' in text} == set(tables)
        assert len(re.findall('<li data-verdict="', text)) == len(CLAIMS_OF_THE_PAPER)


def test_without_a_meter_one_line_says_so_in_place_of_rows_without_figures(embedded, embedded_metered):
    rows = r'<th scope="row">([^<]*: (?:power|energy|training time)[^<]*)</th>'
    section = embedded.read_text().partition('<section id="cost"')[2].partition("<details>")[0]
    assert [row.partition(": ")[2] for row in re.findall(rows, section)] == ["training time (s)"] * 3
    assert section.count(f"No power and energy (n/a): {html.escape(NO_METER)}.") == 1
    tables = embedded.parent / "tables"
    assert "Full fine-tuning: power (W)" in (tables / "table5.md").read_text()  # the paper's row
    section = embedded_metered.read_text().partition('<section id="cost"')[2].partition("<details>")[0]
    assert section.count("energy (kJ)</th>") == 3
    assert "(n/a)" not in section


def test_the_memory_of_a_process_says_below_the_table_that_it_is_no_gpu_memory(embedded):
    section = embedded.read_text().partition('<section id="memory"')[2].partition("<details>")[0]
    assert '<th scope="col">method (process memory on a CPU, MB)</th>' in section
    assert '<p class="footnote">On a CPU: the mean of the memory of the whole process.' in section
    table = read_table(embedded.parent / "tables/table4.json")
    published = replace(table, published=Published("the paper", [Cell("LoRA", "RTE", 1.0, "1")], corner="memory, MB"))
    assert published.published_grid().head[0] == "memory, MB"


def test_on_a_desk_nothing_is_half_blank_and_the_contents_stay_at_the_side(browser, embedded):
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.goto(embedded.as_uri())
    shares = tab.evaluate(
        """() => [...document.querySelectorAll("main .evidence, main .pair")].map((block) => {
            const inner = [...block.querySelectorAll("table, svg, summary, p")].map((e) => e.getBoundingClientRect());
            const right = Math.max(...inner.map((box) => box.right)), box = block.getBoundingClientRect();
            return (right - box.left) / box.width;
        })"""
    )
    assert min(shares) > 0.6
    tab.evaluate("scrollTo(0, 3000)")
    side = tab.locator("nav").bounding_box()
    assert 0 <= side["y"] < 100
    assert tab.locator("main").bounding_box()["x"] > side["x"] + side["width"]
    tab.close()


def test_what_a_name_says_stays_text(opened):
    assert opened.locator("header .banner p").first.text_content().count(ODD) == 1
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
        monkeypatch.setattr(sections, "read_svg", lambda path: path.read_text().partition("<svg")[2].join(["<svg", ""]))
    write_report(ReportInputs(**vars(inputs) | {"figures": figures}), SETTINGS, tmp_path / "report.html")
    tab = browser.new_page()
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.goto((tmp_path / "report.html").as_uri())
    tab.mouse.move(300, 300)
    tab.wait_for_timeout(300)
    assert tab.title() != "ran"
    assert [text for text in messages if "Content Security Policy" not in text] == []
    assert tab.locator("#plot svg").is_visible()
    assert tab.locator("#filter-count").text_content() != ""  # the page's own script ran
    if unsanitized:
        assert any("script-src" in text for text in messages)
    else:
        assert messages == []
        assert tab.locator("h1").is_visible()
        assert tab.locator("figure script, figure style, figure image, figure foreignObject").count() == 0
    tab.close()


def test_the_section_of_scores_says_in_a_line_for_each_task_what_repeats(made, inputs, tmp_path):
    assert "Repeated examples" not in (made / "report.html").read_text(), "runs from before it was counted"
    exact = {field.name: number for number, field in enumerate(fields(Repeats))}
    content = read_json(inputs.runs[0])
    counted = {"exact": exact, "normalized": exact | {"overlap": 9}, "shared_mask": "00"}
    data = content["run"]["data"] | {"overlap": counted, "task": "cola", "columns": ["sentence"]}
    pair = data | {"task": "rte", "columns": ["sentence1", "sentence2"]}
    cards = [DataCard.from_json(card) for card in (data, data, pair)]
    validation, train = (f"{data[split]['examples']:,}" for split in ("validation", "train"))
    first = f"4 (9 normalized) of {validation} validation examples are in the training split, 5 with another label; "
    last = f"0 of {train} training examples repeat an earlier one, 2 contradict another one."
    share = f"6 ({6 / data['validation']['examples']:.0%}) share a text with a training example; "
    lines = overlap_lines(cards)
    assert lines == [f"CoLA: {first}{last}", f"RTE: {first}{share}{last}"]
    content["run"]["data"] = data
    write_json(tmp_path / "run.json", seal({name: value for name, value in content.items() if name != SEAL}))
    write_report(replace(inputs, runs=[tmp_path / "run.json", *inputs.runs[1:]]), SETTINGS, tmp_path / "report.html")
    section = (tmp_path / "report.html").read_text().split('<section id="scores"')[1].split("</section>")[0]
    assert f'<li class="says">{lines[0]}</li>' in section
