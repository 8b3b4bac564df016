"""The documentation: its commands run, its code compiles, its links lead somewhere, its pictures are the code's."""

import re
import shlex
import shutil
import subprocess
import sys
import textwrap

import pytest
from builders import ROOT
from project import Project, glue

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "config/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def blocks(language):
    """`(page, text)` of every fenced block of a language."""
    pattern = rf"^ *```{language}\n(.*?)^ *```"
    return [(page.name, text) for page in PAGES for text in re.findall(pattern, page.read_text(), re.M | re.S)]


def commands():
    """`(page, command)`: the lines of shell blocks, and what stands as code in tables and text."""
    found = [(page, line.split("#")[0].strip()) for page, text in blocks("sh") for line in text.splitlines()]
    inline = [
        (page.name, code) for page in PAGES for code in re.findall(r"`((?:snakemake|make) [^`]+)`", page.read_text())
    ]
    return sorted({(page, command) for page, command in [*found, *inline] if command})


def of(program):
    return [
        pytest.param(command, id=f"{page}: {command}") for page, command in commands() if command.startswith(program)
    ]


def test_there_are_commands_of_every_sort():
    assert len(of("make ")) > 10
    assert len(of("snakemake ")) > 8
    others = {command.split()[0] for _, command in commands()} - {"make", "snakemake"}
    assert others <= {"awk", ".venv/bin/python"}, others


@pytest.mark.parametrize("command", of("make "))
def test_make_has_the_target(command):
    words = shlex.split(command)
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a folder of GLUE's layout beside it."""
    project = Project(tmp_path_factory.mktemp("docs") / "project")
    folder = glue(project.folder / "FOLDER")
    for task in ("rte", "stsb"):  # a plan reads no file
        shutil.copytree(folder / "cola", folder / task)
    return project


@pytest.mark.parametrize("command", of("snakemake "))
def test_snakemake_plans_what_a_page_names(project, command):
    words = shlex.split(command)[1:]
    if "conda" in words and shutil.which("conda") is None:
        pytest.skip("no conda here")
    if words[0] in ("-n", "--lint", "--unlock", "--version"):
        words = words[1:]
    if "--cores" not in words and "--profile" not in words:
        words = ["--cores", "1", *words]
    run = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", *words]
    done = subprocess.run(run, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_compiles_and_runs(page, text):
    if "snakefile:" in text:  # Snakemake's own language; tests/workflow/test_extended.py uses a module
        return
    code = compile(re.sub(r"^   ", "", text, flags=re.M) if text.startswith("   ") else text, page, "exec")
    if "inject(" in text:  # what needs a study's weights is run as examples/use_results.py
        exec(code, {})


def test_the_method_that_is_shown_is_the_one_that_runs():
    (shown,) = (text for page, text in blocks("python") if page == "adding-a-method.md")
    assert textwrap.dedent(shown) == (ROOT / "lora_core" / "methods" / "bitfit.py").read_text()


def test_awk_finds_the_scores(project):
    (command,) = [command for _, command in commands() if command.startswith("awk")]
    (project.folder / "results").mkdir()
    (project.folder / "results" / "runs.csv").write_text("fft,cola,1,score.best,0.5\nlora,cola,1,score.best,0.6\n")
    done = subprocess.run(command, shell=True, cwd=project.folder, capture_output=True, text=True)
    assert done.stdout == "fft,cola,1,score.best,0.5\n"


def test_every_link_leads_to_a_file_and_a_heading():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", page.read_text()):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
                assert anchor in {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}, link


def test_the_pictures_are_those_of_the_code():
    drawn = subprocess.run(
        [sys.executable, ROOT / "docs" / "architecture.py"], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "architecture.md").read_text() == drawn, "run: make pictures"


def test_scripts_are_short_and_the_readme_fits_on_two_screens():
    assert max(len(file.read_text().splitlines()) for file in (ROOT / "workflow" / "scripts").glob("*.py")) < 40
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
