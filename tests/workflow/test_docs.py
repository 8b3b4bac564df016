"""The documentation: its commands and its code run, its links lead somewhere, its pictures are those of the code."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from functools import cache
from importlib.util import find_spec

import pictures
import pyarrow as pa
import pytest
from builders import ROOT
from fork_server import snakemake
from project import Project
from pyarrow import parquet
from results_gpu import write_tables

from lora_core.commands import cli
from lora_core.data.mini_glue import generate

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "config/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def blocks(language):
    """`(page, text)` of every fenced block of a language."""
    pattern = rf"^ *```{language}\n(.*?)^ *```"
    return [(page.name, text) for page in PAGES for text in re.findall(pattern, page.read_text(), re.M | re.S)]


def commands():
    """`(page, command)`: the lines of shell blocks, and commands in tables and text."""
    lines = [(page, line.split("#")[0].strip()) for page, text in blocks("sh") for line in text.splitlines()]
    inline = [
        (page.name, code)
        for page in PAGES
        for code in re.findall(r"`((?:snakemake|make|lora-core) [^`]+)`", page.read_text())
    ]
    return sorted({(page, command) for page, command in [*lines, *inline] if command})


def of(program):
    return [
        pytest.param(command, id=f"{page}: {command}") for page, command in commands() if command.startswith(program)
    ]


def test_there_are_commands_of_every_sort():
    assert len(of("make ")) > 10
    assert len(of("snakemake ")) > 8
    others = {command.split()[0] for _, command in commands()} - {"make", "snakemake", "lora-core"}
    assert others <= {"awk", ".venv/bin/python", ".venv/bin/lora-core", "git", "pip"}, others


@pytest.mark.parametrize("command", of("make "))
def test_make_has_the_target(command):
    arguments = shlex.split(command)[1:]
    result = subprocess.run(["make", "-n", "RESULTS=results", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def targets():
    """The targets that `make help` lists."""
    command = ["make", "--no-print-directory", "help"]  # below `make test` it would name the folder that it enters
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines()]


def test_make_help_has_two_columns():
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len({re.match(r"[a-z-]+ +", line).end() for line in listed.splitlines()}) == 1


@pytest.mark.parametrize("target", targets())
def test_what_a_target_calls_exists(target):
    assert f" {target} " in f" {re.search(r'^[.]PHONY: (.*)$', (ROOT / 'Makefile').read_text(), re.M)[1]} "
    variables = ["A=one", "B=other", "BUNDLE=a.zip", "CONFIG=config/demo.yaml", "RESULTS=results/demo"]
    recipe = subprocess.run(["make", "-n", target, *variables], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in recipe.stdout.splitlines():
        for arguments in re.findall(r"bin/lora-core ([a-z][^;>&|]*)", line):
            assert cli.parse_arguments(shlex.split(arguments)).run, line
        for module in re.findall(r"-m (lora_core[\w.]*|bench)\b", line):
            assert find_spec(module), line


@pytest.mark.parametrize("command", of("lora-core "))
def test_the_command_is_accepted(command, capsys):
    arguments = shlex.split(command, comments=True)[1:]
    if len(arguments) > 1:
        assert cli.parse_arguments(arguments)
    else:  # only named, without its arguments
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.parse_arguments([*arguments, "--help"])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a folder in GLUE's layout and the overlay that config/README.md shows."""
    project = Project(tmp_path_factory.mktemp("docs") / "project")
    (overlay,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "config" / "README.md").read_text(), re.S)
    (project.folder / "config" / "mine.yaml").write_text(overlay)
    for task in ("cola", "rte", "stsb"):
        for split in ("train", "validation"):
            columns = generate(task, split)
            file = project.folder / f"FOLDER/{task}/{split}-00000-of-00001.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.table(columns), file)
    return project


@pytest.fixture(scope="module")
def dry_run(project):
    """Run snakemake with arguments, and with the same ones only once."""

    @cache
    def run(*arguments):
        return snakemake(project.folder, ["-n", "--quiet", "all", *arguments], dict(os.environ))

    return run


@pytest.mark.parametrize("command", of("snakemake "))
def test_snakemake_plans_what_a_page_names(dry_run, command):
    arguments = shlex.split(command)[1:]
    if "conda" in arguments and shutil.which("conda") is None:
        pytest.skip("conda is not installed")
    if "profiles/slurm" in arguments and find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("what submits to Slurm is not installed (make slurm)")
    if arguments[0] in ("-n", "--lint", "--unlock", "--version"):
        arguments = arguments[1:]
    if arguments[:1] == ["--cores"]:  # how many changes no plan
        arguments = arguments[2:]
    if "--profile" not in arguments:
        arguments = ["--cores", "1", *arguments]
    status, output = dry_run(*arguments)
    assert status == 0, output


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_runs_or_imports_what_exists(page, text):
    if "snakefile:" in text:  # Snakemake's own language; test_module.py uses a module
        assert "module " in text
        return
    tree = ast.parse(textwrap.dedent(text), page)
    if "inject(" not in text:  # what needs the weights of a study runs as examples/use_results.py
        tree.body = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert tree.body
    exec(compile(tree, page, "exec"), {})


def test_the_method_that_is_shown_is_the_one_that_runs():
    (shown,) = (text for page, text in blocks("python") if page == "adding-a-method.md")
    assert textwrap.dedent(shown) == (ROOT / "lora_core" / "methods" / "bitfit.py").read_text()


def test_awk_finds_the_scores(project):
    (command,) = [command for _, command in commands() if command.startswith("awk")]
    (project.folder / "results").mkdir()
    (project.folder / "results" / "runs.csv").write_text("fft,cola,1,score.best,0.5\nlora,cola,1,score.best,0.6\n")
    result = subprocess.run(command, shell=True, cwd=project.folder, capture_output=True, text=True)
    assert result.stdout == "fft,cola,1,score.best,0.5\n"


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


OF_A_TEST_SPLIT = {"test_fraction", "test_logits", "test_overlap"}  # names in configurations and records


def test_every_test_that_a_page_names_exists():
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        for name in set(re.findall(r"`(test_\w+)`", page.read_text())) - OF_A_TEST_SPLIT:
            assert f"def {name}(" in tests, f"{page.name}: {name}"


@pytest.mark.parametrize(
    ("program", "page"),
    [
        ("architecture.py", "docs/architecture.md"),
        ("results_folder.py", "results/README.md"),
        ("published.py", "docs/published.md"),
    ],
)
def test_a_page_about_the_code_is_what_its_program_prints(program, page):
    command = [sys.executable, ROOT / "docs" / program]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (ROOT / page).read_text() == printed, "run: make pictures"


@pytest.mark.parametrize("name", pictures.FIGURES)
def test_a_figure_of_the_documentation_is_drawn_from_its_records(name, tmp_path):
    pictures.draw(name, tmp_path / "drawn.svg")
    assert (ROOT / f"docs/{name}.svg").read_text() == (tmp_path / "drawn.svg").read_text(), "run: make pictures"


def test_the_picture_of_the_report_is_of_the_page_as_it_is():
    taken = (ROOT / "docs/report.digest").read_text().strip()
    command = ".venv/bin/python docs/pictures.py results/report.html"
    assert taken == pictures.page_digest(), f"docs/report.png shows an earlier page; after make tables, run: {command}"


@pytest.mark.parametrize("name", pictures.PAGES)
def test_the_tables_of_a_page_are_those_of_its_records(name):
    assert (ROOT / f"docs/{name}.md").read_text() == pictures.page_with_tables(name), "run: make pictures"


def test_a_page_that_lacks_the_place_of_a_table_is_refused():
    with pytest.raises(ValueError, match="its tables are \\['one', 'two'\\]"):
        write_tables("<!-- table: one -->\n\n<!-- end -->", {"one": ["| 1 |"], "two": ["| 2 |"]})


SITE = """rule one:
    output: "one.txt"
    shell: "echo {resources.slurm_account} {resources.slurm_partition} > {output}"
"""


@pytest.mark.parametrize(
    ("quoted", "unquoted", "result"),
    [("slurm_account", "2024-15", "2009 gpu"), ("slurm_partition", "all", "ValueError")],
)
def test_a_setting_for_a_site_that_could_be_an_expression_is_quoted_twice_as_the_page_says(
    quoted, unquoted, result, tmp_path
):
    """Snakemake evaluates the resources of a profile itself, whatever executes the jobs."""
    said = re.search(rf"`{quoted}: (\"'{unquoted}'\")`", (ROOT / "docs" / "cluster.md").read_text())
    (tmp_path / "Snakefile").write_text(SITE)
    outcomes = []
    for value in (unquoted, said[1]):
        settings = {"slurm_account": "lab", "slurm_partition": "gpu", quoted: value}
        profile = "".join(f"\n  {name}: {text}" for name, text in settings.items())
        (tmp_path / "config.yaml").write_text(f"default-resources:{profile}\n")
        status, output = snakemake(tmp_path, ["--profile", ".", "-c1", "--forceall"], dict(os.environ))
        outcomes.append(output if status else (tmp_path / "one.txt").read_text().strip())
    assert result in outcomes[0]
    assert outcomes[1] == " ".join((settings | {quoted: unquoted}).values())


DURATIONS = {
    "the demo": {
        "README.md": r"^make demo +# installs, then .* in about (.+) minutes$",
        "Makefile": r"^demo: .* in about (.+) minutes$",
        "config/demo.yaml": r"the whole workflow in about (.+) minutes\.$",
        "config/README.md": r"^\| \[`demo\.yaml`\].* about (.+) minutes on two cores \|$",
    },
    "the embedded study": {
        "README.md": r"^`make tables` takes (.+) minutes on two cores",
        "Makefile": r"The embedded study: 30 short runs, (.+) minutes on two cores",
    },
}


@pytest.mark.parametrize("study", DURATIONS)
def test_all_pages_say_the_same_of_how_long_a_study_takes(study):
    said = {
        file: re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE) for file, pattern in DURATIONS[study].items()
    }
    assert all(len(durations) == 1 for durations in said.values()), said
    assert len({durations[0] for durations in said.values()}) == 1, said


def test_the_readme_fits_on_two_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
