"""A stage's digest changes with the statements that it runs, and with nothing else."""

import ast
import json
import shutil
from functools import cache
from pathlib import Path

import pytest

from lora_core.code_digest import ROOT, VERSION, CodeDigests, read_source
from lora_core.methods.registry import kinds
from lora_core.reporting import catalogue

SCRIPTS = ROOT / "workflow" / "scripts"
MODULES = sorted((ROOT / "lora_core").rglob("*.py"))
KINDS = [f"lora_core.methods.{kind}" for kind in kinds()]
DRAWINGS = {
    (script, name): f"lora_core.reporting.{entry.draw.partition(':')[0]}"
    for script, entries in (("render_table.py", catalogue.TABLES), ("draw_figure.py", catalogue.FIGURES))
    for name, entry in entries.items()
}
# Each stage's script, and the modules that its rule adds because the job imports them by name.
STAGES = {
    **{f"train {kind}": ("train.py", kind) for kind in KINDS},
    **{f"write_model_card {kind}": ("write_model_card.py", kind) for kind in KINDS},
    **{f"{script} {name}": (script, module) for (script, name), module in DRAWINGS.items()},
    "count_parameters": ("count_parameters.py", *KINDS),
    "probe_gradients": ("probe_gradients.py", *KINDS),
    "check_memory": ("check_memory.py", *KINDS),
    "time_inference": ("time_inference.py", *KINDS),
    "predict_memory": ("predict_memory.py", "lora_core.methods.full", "lora_core.methods.lora"),
}
STAGES |= {
    script.stem: (script.name,)
    for script in sorted(SCRIPTS.glob("*.py"))
    if script.name not in {name for name, *_ in STAGES.values()}
}
NO_TRAINING = ("lora_core/reporting/", "lora_core/commands/", "lora_core/evaluation/", "lora_core/csv_cells.py")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the package and the scripts, with a cache so that only changed files are parsed again."""
    folder = tmp_path_factory.mktemp("code")
    for name in ("lora_core", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def before(project):
    """The digest of every stage of the unchanged copy."""
    return digests(project)


def digests(folder):
    computer = CodeDigests(folder, folder / "digests.json")
    stages = {
        stage: computer.digest(folder / "workflow" / "scripts" / script, *modules)
        for stage, (script, *modules) in STAGES.items()
    }
    computer.save()
    return stages


def changed_stages(project, before, file, text):
    """The stages whose digest differs once `file` holds `text`."""
    path = project / file
    original = path.read_text()
    path.write_text(text)
    try:
        return {stage for stage, digest in digests(project).items() if digest != before[stage]}
    finally:
        path.write_text(original)


@cache
def imported(file):
    """The files of the package that a file imports when it runs, by a plain walk through its syntax tree."""
    names, tree = set(), ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {f for name in names if name.startswith("lora_core") for f in files_of(name)}


def files_of(name):
    """The files that run when a module is imported: its own, and the `__init__` of the packages above it."""
    paths = [ROOT.joinpath(*name.split(".")[:n]) for n in range(1, name.count(".") + 2)]
    return {f for path in paths for f in (path.with_suffix(".py"), path / "__init__.py") if f.exists()}


def stages_of(module):
    """The stages that run a module of the package."""
    users = set()
    for stage, (script, *added) in STAGES.items():
        seen, waiting = set(), [SCRIPTS / script, *(file for name in added for file in files_of(name))]
        while waiting:
            file = waiting.pop()
            if file not in seen:
                seen.add(file)
                waiting += imported(file)
        if module in seen:
            users.add(stage)
    return users


def reworded(text):
    """The text with other docstrings, with comments, and formatted by another hand."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.Expr(ast.Constant("Other words."))
            node.body = [docstring, *(node.body[1:] if ast.get_docstring(node) is not None else node.body)]
    return "# A comment.\n" + ast.unparse(ast.fix_missing_locations(tree)) + "\n\n# Another.\n"


@pytest.mark.parametrize("file", [str(file.relative_to(ROOT)) for file in MODULES])
def test_words_rerun_nothing_and_a_statement_exactly_the_stages_that_import_it(project, before, file):
    text = (project / file).read_text()
    assert changed_stages(project, before, file, reworded(text)) == set()
    changed = changed_stages(project, before, file, text + "\nA_STATEMENT = 1\n")
    assert changed == stages_of(ROOT / file)
    if file.startswith(NO_TRAINING) and not file.endswith("__init__.py"):
        assert not [stage for stage in changed if stage.startswith("train")]


def messages(text):
    """The text with another wording in every `raise`, and whether there is one."""

    class Reword(ast.NodeTransformer):
        was_reworded = False

        def visit_Raise(self, node):
            for part in ast.walk(node):
                if isinstance(part, ast.JoinedStr):
                    part.values = [v for v in part.values if isinstance(v, ast.FormattedValue)] + [ast.Constant("!")]
                    Reword.was_reworded = True
                elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                    part.value = "Another message."
                    Reword.was_reworded = True
            return node

    return ast.unparse(Reword().visit(ast.parse(text))), Reword.was_reworded


def test_a_message_of_an_error_reruns_nothing(project, before):
    tried = 0
    for file in (str(file.relative_to(ROOT)) for file in MODULES):
        text, was_reworded = messages((project / file).read_text())
        tried += was_reworded
        assert not was_reworded or changed_stages(project, before, file, text) == set(), file
    assert tried > 10


def test_a_changed_script_changes_its_own_stage_alone(project, before):
    for script in sorted(SCRIPTS.glob("*.py")):
        file = f"workflow/scripts/{script.name}"
        changed = changed_stages(project, before, file, script.read_text() + "\nA_STATEMENT = 1\n")
        assert changed == {stage for stage, (name, *_) in STAGES.items() if name == script.name}


def test_the_template_and_the_style_of_the_page_belong_to_the_report_alone(project, before):
    files = [f for f in (ROOT / "lora_core").rglob("*.*") if f.suffix in (".html", ".css", ".js")]
    assert len(files) == 4
    for file in files:
        name = str(file.relative_to(ROOT))
        assert changed_stages(project, before, name, file.read_text() + "\n") == {"write_report"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1.0"), ("x = 1", "x = True"), ("x = 'a'", "x = 'b'"), ("x = 'a'", "x = b'a'"),
        ("f(a, b)", "f(b, a)"), ("if a:\n    f()", "if a:\n    pass\nf()"), ("x = f'{a}'", "x = f'{a!r}'"),
        ("raise E(a)", "raise E(b)"), ("raise E('t')", "raise F('t')"), ("def f(a=1): pass", "def f(a=2): pass"),
        ("if A:\n    x = 1\nelse:\n    y = 1", "if A:\n    x = 1\n    y = 1"), ("x: int = 1", "x: float = 1"),
        ("x = None", "x = ..."), ("raise E(f'{a} text')", "raise E(f'{b} text')"),
    ],
)  # fmt: skip
def test_code_that_does_something_else_has_another_digest(one, other):
    assert read_source(one.encode()).code != read_source(other.encode()).code


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1  # one"), ("def f():\n    'text'\n    g()", "def f():\n    g()"), ("x = 'a'", 'x = "a"'),
        ("class A:\n    x = 1\n    'About x.'", "class A:\n    x = 1"), ("x = (1)", "x = 1"),
        ("if TYPE_CHECKING:\n    import a", "if TYPE_CHECKING:\n    import b"),
        ("raise E(f'{a} is wrong')", "raise E(f'wrong: {a}')"), ("raise E('a' 'b')", "raise E('c')"),
    ],
)  # fmt: skip
def test_code_that_does_the_same_has_the_same_digest(one, other):
    assert read_source(one.encode()).code == read_source(other.encode()).code


def test_imports_count_however_they_are_written_except_for_type_checkers():
    source = read_source(
        b"import lora_core.data.batches as d\nfrom lora_core.methods import (\n    full,  # the first\n    lora,\n)\n"
        b"def f():\n\tfrom lora_core import stats, trace\n"
        b"try:\n    import lora_core.a\nexcept ImportError:\n    import lora_core.b\n"
        b"if TYPE_CHECKING:\n    from lora_core import layers\nelse:\n    import lora_core.c\n"
        b"import torch\ntext = 'import lora_core.no'\n"
    )
    names = "a b c data data.batches methods methods.full methods.lora stats trace"
    assert source.imports == tuple(sorted(["lora_core", *(f"lora_core.{name}" for name in names.split())]))


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 3}', '{"version": "%s", "sources": {"a": {}}}'])
def test_a_damaged_cache_is_ignored_and_replaced(project, before, content):
    cache_file = project / "digests.json"
    cache_file.write_text(content.replace("%s", VERSION))
    assert digests(project) == before
    assert json.loads(cache_file.read_text())["version"] == VERSION


def test_a_cache_that_cannot_be_written_is_no_error(project, tmp_path):
    (tmp_path / "file").write_text("")
    computer = CodeDigests(project, tmp_path / "file" / "digests.json")
    assert computer.digest(project / "workflow" / "scripts" / "train.py")
    computer.save()


def test_methods_and_drawings_alone_are_imported_by_name():
    # Their rules add the modules to the digest. No job uses the other two: the library, and exports to other tools.
    users = set()
    for file in (*MODULES, *SCRIPTS.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", getattr(called, "attr", None))
            if name in ("import_module", "__import__", "exec", "eval", "spec_from_file_location") and not (
                name == "eval" and isinstance(called, ast.Attribute)  # model.eval()
            ):
                users.add(str(file.relative_to(ROOT)))
    assert users == {
        "lora_core/methods/registry.py", "lora_core/reporting/catalogue.py", "lora_core/__init__.py",
        "lora_core/reporting/exports/formats.py",
    }  # fmt: skip


def test_scripts_are_short_and_define_no_function():
    for file in SCRIPTS.glob("*.py"):
        tree = ast.parse(file.read_text())
        assert len(file.read_text().splitlines()) <= 40, file
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)], file


def test_no_import_is_relative_for_the_digest_follows_names():
    for file in (*MODULES, *SCRIPTS.glob("*.py")):
        relative = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom) and n.level]
        assert not relative, file


def test_files_of_the_package_exist():
    assert len(MODULES) > 50
    assert all(isinstance(file, Path) for file in MODULES)
