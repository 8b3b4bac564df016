"""The report in a real browser: whole, quiet, usable by keyboard, screen reader and phone."""

import shutil

import pytest
from builders import FFT, MERGED, METHODS, SEEDS, TASKS, Made, draw_figures, timed

from lora_core.evaluation.claims import Verdict, write
from lora_core.evaluation.collect_runs import COLUMNS
from lora_core.records import write_json
from lora_core.reporting import rendering, tables
from lora_core.reporting.figures.style import save
from lora_core.reporting.page import page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ODD = "</script><img src=x onerror=alert(1)>"
STUDY = rendering.Study("a model", f"data {ODD}", "a protocol", list(SEEDS), "bucketed", False, False)
PLACE = {
    "commit": "0123456789abcdef", "dirty": False, "device_model": "a CPU", "threads": 2, "python": "3.11",
    "packages": {"torch": "2"}, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study's folder with its report."""
    folder = tmp_path_factory.mktemp("results")
    study = Made(folder, energy=5000.0)
    passes = [timed(folder / "timed", {FFT: [0.5, 0.6], MERGED: [0.5, 0.7]}, task) for task in TASKS]
    counts = {m: {"trainable": 10, "head": 2, "total": 100} for m in METHODS}
    write_json(folder / "counts.json", {"full": 100, "methods": counts})
    costs = {
        "table5": tables.cost("table5", study.costs, ["fft"]),
        "table6": tables.cost("table6", study.costs, ["lora"]),
    }
    shown = costs | {"table1": tables.parameters(folder / "counts.json"), "table2": tables.scores(study.scores),
             "table3": tables.latency(passes, 0.03), "table4": tables.memory(study.runs)}  # fmt: skip
    for name, table in shown.items():
        rendering.write(table, STUDY, folder / "tables" / name)
    (folder / "figures").mkdir()
    for name, (figure, frame) in draw_figures(study).items():
        save(figure, frame, folder / "figures" / f"{name}.svg")
    verdicts = [Verdict(f"claim {ODD}", "38%", "40%", "[39, 41]", "1%", v, "a rule") for v in page.VERDICTS]
    write(verdicts, rendering.Study(**vars(STUDY) | {"comparable": True}), folder / "claims")
    rows = [",".join(COLUMNS)]
    for m in METHODS:
        for t in TASKS:
            for s in SEEDS:
                rows += [f"{m},{t},{s},score.best,0.8{s}", f"{m},{t},{s},train_seconds,{10 + s}"]
                if m != "vera":
                    rows.append(f"{m},{t},{s},energy.train_joules,{1000 * (2 if m == 'lora' else 4)}")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")
    records = [folder / "record.json"]
    write_json(records[0], {"provenance": PLACE})
    page.write(
        folder, sorted((folder / "tables").glob("*.md")), sorted((folder / "figures").glob("*.svg")), study.curves,
        records, records, folder / "report.html",
    )  # fmt: skip
    return folder


def test_a_table_is_read_back_as_it_was_written(made):
    found = page.read_markdown(made / "tables" / "table2.md")
    assert found.heading == "Table 2: Score on the validation split"
    assert ODD in found.lines[0]
    assert found.own.head == ["method", "CoLA", "RTE"]
    assert ["lora, best epoch", "82.0 ± 1.0 (82.0)", "82.0 ± 1.0 (82.0)"] in found.own.rows
    assert found.published.head == ["method", "SST-2", "MRPC", "CoLA", "RTE", "STS-B"]
    assert found.published.rows[0] == ["FFT", "94.4", "90.2", "62.1", "75.5", "90.7"]
    assert any(note.startswith("In percent") for note in found.notes)


def test_the_answer_is_worked_out_from_the_runs(made):
    rows, counts = page.read_runs(made / "runs.csv"), {"full": 100, "methods": {"lora": {"trainable": 10}}}
    assert page.answer(rows, counts, {"a CPU", "another"})[-1] == (
        "Measured on 2 devices, so time and energy have no mean."
    )
    assert page.answer(rows, counts, {"a CPU"}) == [
        "LoRA trains 10 parameters and the head, 10 % of the model's 100.",
        "Best score, mean over tasks and seeds: full fine-tuning 82.0 %, LoRA 82.0 %.",
        "Training a run takes 12 s by full fine-tuning and 12 s by LoRA, each for all the epochs that its protocol "
        "plans: 1.00 times as much.",
        "It takes 4 kJ by full fine-tuning and 2 kJ by LoRA, each for all the epochs that its protocol plans: 0.50 "
        "times as much.",
    ]


def test_a_row_belongs_to_the_longest_method_it_begins_with():
    names = ["lora", "lora_ref", "fft"]
    rows = ("lora, best epoch", "lora_ref: weights", "lora - fft, 95% over seeds", "lora_new", "constant guess")
    assert [page.method_of(row, names) for row in rows] == ["lora", "lora_ref", "lora", None, None]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(params=[(380, "light"), (820, "dark"), (1300, "light")], ids=["phone", "tablet, dark", "desk"])
def opened(request, browser, made):
    """The page at a width and in a theme; it must stay quiet to the end of the test."""
    width, theme = request.param
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    said = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))
    tab.on("request", lambda asked: said.append(asked.url))
    url = (made / "report.html").as_uri()
    tab.goto(url)
    yield tab
    tab.close()
    assert said == [url]  # the page itself, and nothing else asked for or complained about


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
    found = [v for v in Axe().run(opened).response["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:100]) for v in found] == []


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

    assert opened.locator("#threshold-value").text_content() == "75.0 %"  # the study's own
    # Scores of 25, 50 and 75 % after 10 s and 5 kJ an epoch.
    assert cost(50) == ["3 of 3", "2.0", "20.0", "10.0"]
    assert cost(75) == ["3 of 3", "3.0", "30.0", "15.0"]
    assert cost(25) == ["3 of 3", "1.0", "10.0", "5.00"]


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
    assert opened.locator('td[data-column="RTE"]:visible').count() == 0
    assert shown_runs(opened) == (len(METHODS) - 1) * len(SEEDS)


def test_what_a_name_says_stays_text(opened):
    assert opened.locator("header p").first.text_content().count(ODD) == 1
    assert opened.locator("img").count() == 0
