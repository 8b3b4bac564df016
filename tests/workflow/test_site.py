"""The documentation as a site: it is built without a warning, and shows what its pages show."""

import re
import shutil
from html.parser import HTMLParser

import pytest
import yaml
from builders import ROOT

NAV = [page for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"] for page in entry.values()]


@pytest.fixture(scope="module")
def builder():
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (make docs)")
    import build_site

    return build_site


@pytest.fixture(scope="module")
def site(builder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    builder.build_site(folder)
    return folder


class Sources(HTMLParser):
    """The addresses of what a page shows and runs."""

    def __init__(self, page):
        super().__init__()
        self.sources = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in ("img", "script") and values.get("src"):
            self.sources.append(values["src"])
        if tag == "link" and values.get("rel") == "stylesheet":
            self.sources.append(values["href"])


@pytest.mark.parametrize("name", NAV)
def test_every_page_is_built_and_what_it_shows_is_in_the_site(site, name):
    page = site / re.sub(r"README\.md$", "index.md", name).replace(".md", ".html")
    sources = Sources(page).sources
    assert not [source for source in sources if not (page.parent / source.partition("?")[0]).is_file()]
    shown = re.findall(r"!\[[^]]*\]\((?:.*/)?([^)/]+)\)", (ROOT / name).read_text())
    assert set(shown) <= {source.rpartition("/")[2] for source in sources}


def test_the_site_has_every_page_of_the_readmes_table_in_its_order():
    table = (ROOT / "README.md").read_text().partition("## Documentation")[2]
    listed = [page for page in re.findall(r"\]\(([^)]+\.md)\)", table) if page in NAV]
    assert listed == sorted(listed, key=NAV.index)
    assert set(re.findall(r"\]\(([^)]+\.md)\)", table)) <= set(NAV)
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= set(NAV)


def test_the_site_has_the_colors_of_the_report():
    colors = re.compile(r"^ *:root \{.*--ink.*\}$", re.MULTILINE)
    report = colors.findall((ROOT / "lora_core/reporting/page/page.css").read_text())
    assert len(report) == 3  # light, dark and printed
    assert colors.findall((ROOT / "docs/site.css").read_text()) == report


@pytest.mark.parametrize(("width", "theme"), [(380, "light"), (900, "dark"), (1400, "light")])
def test_a_page_of_results_is_in_the_reports_style_and_no_wider_than_the_screen(site, width, theme):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        tab.goto((site / "docs/results-gpu.html").as_uri())
        page = tab.evaluate(
            """() => {
                const style = (selector) => getComputedStyle(document.querySelector(selector));
                const text = style("[role=main] p"), cell = style("[role=main] td");
                return {
                    wide: document.documentElement.scrollWidth, paper: style(".wy-nav-content").backgroundColor,
                    ink: text.color, font: text.fontFamily, side: cell.borderLeftWidth, below: cell.borderBottomWidth,
                };
            }"""
        )
        browser.close()
    ink, paper = (
        ("rgb(26, 26, 26)", "rgb(255, 255, 255)") if theme == "light" else ("rgb(232, 232, 232)", "rgb(22, 24, 27)")
    )
    assert page == {
        "wide": width, "paper": paper, "ink": ink, "font": "system-ui, sans-serif", "side": "0px", "below": "1px",
    }  # fmt: skip


def test_a_link_that_leads_nowhere_is_refused(builder, tmp_path, monkeypatch):
    from mkdocs.exceptions import Abort

    builder.gather(tmp_path)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs/cluster.md").write_text("# A cluster\n\n[elsewhere](no-such-page.md)\n")
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    with pytest.raises(Abort):
        builder.build_site(tmp_path / "site")
