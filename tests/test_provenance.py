"""The code digest follows imports, and nothing imports behind its back."""

import ast

from builders import ROOT

from lora_core import provenance

SCRIPTS = ROOT / "workflow" / "scripts"


def names(script, *modules):
    files = provenance.closure([SCRIPTS / script, *(provenance._file(m) for m in modules)])
    return {str(f.relative_to(ROOT / "lora_core")) for f in files if "lora_core" in f.parts}


def test_a_stage_depends_on_the_code_it_uses_and_on_no_other():
    training = names("train.py", "lora_core.methods.lora")
    assert {"train.py", "data.py", "layers.py", "adapter.py", "seeds.py", "meters.py"} <= training
    others = {"tables.py", "config.py", "methods/table.py", "methods/loralib.py", "energy.py", "stats.py"}
    assert not (others | {"glue.py", "mini_glue.py", "tasks.py", "prepare.py", "hub.py"}) & training
    assert not {"bootstrap.py", "scores.py", "tables.py"} & names("time_inference.py", "lora_core.methods.lora")
    assert "layers.py" not in names("train.py", "lora_core.methods.full")
    assert "train.py" not in names("render_table.py")
    assert not {"tables.py", "claims.py"} & names("draw_figure.py")


def by_syntax_tree(file):
    """The lora_core files that a file imports when it runs, from its syntax tree."""
    names = set()
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    names = {name for name in names if name.split(".")[0] == "lora_core"}
    names |= {name.rpartition(".")[0] for name in names if "." in name}
    return {path for name in names if (path := provenance._file(name)).exists()}


def test_imports_read_from_the_text_are_those_of_the_syntax_tree():
    files = [*(ROOT / "lora_core").rglob("*.py"), *SCRIPTS.glob("*.py")]
    assert {file: set(provenance._imports(file)) for file in files} == {file: by_syntax_tree(file) for file in files}


def test_imports_are_found_however_they_are_written(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        "import lora_core.data.batches as d\nfrom lora_core.methods import (\n    full,  # the first\n    lora,\n)\n"
        "def f():\n\tfrom lora_core import stats, trace\n"
        "if TYPE_CHECKING:\n    from lora_core import layers\n"
    )
    found = by_syntax_tree(file)
    assert {path.name for path in found} == {"data.py", "__init__.py", "full.py", "lora.py", "stats.py", "trace.py"}
    assert set(provenance._imports(file)) == found


def test_a_change_in_a_module_changes_the_digest(tmp_path, monkeypatch):
    (tmp_path / "lora_core").mkdir()
    for name, text in {
        "__init__": "",
        "a": "def f():\n    from lora_core import b",
        "b": "x = 1",
        "c": "x = 1",
    }.items():
        (tmp_path / "lora_core" / f"{name}.py").write_text(text)
    script = tmp_path / "script.py"
    script.write_text("import lora_core.a")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def digest():
        provenance._imports.cache_clear()
        return provenance.code_digest(script)

    before = digest()
    (tmp_path / "lora_core" / "c.py").write_text("x = 2")
    assert digest() == before
    (tmp_path / "lora_core" / "b.py").write_text("x = 2")  # imported inside a function of a
    assert digest() != before


def test_the_table_of_methods_is_the_only_dynamic_import_of_a_stage():
    # The other is for those who use the package as a library.
    found = set()
    for file in (*(ROOT / "lora_core").rglob("*.py"), *SCRIPTS.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", getattr(called, "attr", None))
            if name in ("import_module", "__import__", "exec", "eval", "spec_from_file_location") and not (
                name == "eval" and isinstance(called, ast.Attribute)  # model.eval()
            ):
                found.add(str(file.relative_to(ROOT)))
    assert found == {"lora_core/methods/__init__.py", "lora_core/__init__.py"}


def test_no_import_is_relative_for_the_digest_follows_names():
    for file in (*(ROOT / "lora_core").rglob("*.py"), *SCRIPTS.glob("*.py")):
        found = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom) and n.level]
        assert not found, file


def test_scripts_are_short_and_hold_no_function():
    for file in SCRIPTS.glob("*.py"):
        text = file.read_text()
        assert len(text.splitlines()) <= 40, file
        assert "def " not in text, file
