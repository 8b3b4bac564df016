"""Prints docs/architecture.md: its pictures of rules and folders are made from the code (`make pictures`)."""

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lora_core.code_digest import read_source  # noqa: E402

PACKAGE = ROOT / "lora_core"
# Each folder imports only from itself and from those before it. tests/test_layering.py reads the order from the page.
FOLDERS = {
    "": "Modules that everything else uses",
    "data": "Tasks, metrics, and the tokenized examples",
    "models": "The pre-trained model and what is changed in it for every method",
    "methods": "LoRA and everything it is compared with, one file per method",
    "measuring": "Power, energy and memory",
    "training": "One run, from its start to its records",
    "evaluation": "Results from finished runs: scores, costs, latency, counts and claims",
    "config": "The configuration, read once into typed objects",
    "reporting": "Tables, figures and the page",
    "commands": "`lora-core doctor`, `status` and the others",
}
TEXT = """# How is it built?

<!-- Made by `make pictures` (docs/architecture.py) from the code; a test compares the two. -->

A rule declares its files (`workflow/rules/`), a script calls one function (`workflow/scripts/`, at most 40 lines each),
and the package does the work (`lora_core/`). There is no science in rules and scripts, no Snakemake in the package, and
every path below the results folder is defined in `lora_core/layout.py`.

## The rules

Every arrow is a file that is read. Each job carries a digest of the code it uses, found by following the imports of its
script: a changed statement reruns the stages that use it; a comment, a docstring, the wording of an error, a touched
file and a fresh checkout rerun nothing.

```mermaid
{rules}
```

`all`, which asks for every table, figure and the report, is left out; so is `predict_memory`, which only the table of
memory against model size needs. Training and timing are measured: each has the device to itself, on a CPU the machine.

## To add X, touch Y

| to add | touch |
| --- | --- |
| a method that PEFT provides, or a variant | one entry in `method_settings` ([how](adding-a-method.md)) |
| a method of your own | a file in `lora_core/methods/` and one entry in `method_settings` ([how](adding-a-method.md)) |
| a task of your own | one entry in `task_settings` and a folder with the data ([how](adding-a-task.md)) |
| a table | its function in `lora_core/reporting/tables/` and one entry in `lora_core/reporting/catalogue.py` |
| a figure | its function in `lora_core/reporting/figures/` and one entry in `lora_core/reporting/catalogue.py` |
| a metric | one entry in `lora_core/data/metrics.py` |
| a meter of power or energy | a class and its entry in `METERS`, both in `lora_core/measuring/meters.py` |
| a hyperparameter | `lora_core/training/spec.py`, code that uses it, and the [protocols](protocols.md) that set it |

Then run `make schema pictures`: the configuration's schema, this page and results/README.md are written from the code.

## The folders

A folder imports only from itself and from those that stand before it here. An arrow: modules of a folder import from
another. All use the top-level modules, so those arrows are left out. Training imports neither evaluation, configuration
nor reporting, so that a change there reruns no training.

```mermaid
{folders}
```

{tables}"""


def rules() -> str:
    """The rules of the embedded study as Snakemake draws them, in a fixed order, without results that are there."""
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--config", f"results_dir={empty}"]
        drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", drawn)}
    lines = sorted(f"    {a} --> {b}" for a, b in edges if b != "all")
    return "\n".join(["flowchart LR", *lines])


def modules(folder: str) -> list[Path]:
    """The modules of a folder of the package, without the `__init__` files, which do nothing."""
    files = PACKAGE.glob("*.py") if folder == "" else (PACKAGE / folder).rglob("*.py")
    return sorted(file for file in files if file.name != "__init__.py")


def folders() -> str:
    """Which folder imports from which."""
    edges = set()
    for folder in FOLDERS:
        for file in modules(folder):
            imported = {name.split(".")[1] for name in read_source(file.read_bytes()).imports if "." in name}
            edges |= {(folder, other) for other in imported & FOLDERS.keys()}
    lines = [f"    {folder}" for folder in FOLDERS if folder]
    return "\n".join(["flowchart BT", *lines, *sorted(f"    {a} --> {b}" for a, b in edges if a != b)])


def first_sentence(file: Path) -> str:
    """What a module is for: its docstring's first sentence."""
    text = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", text)[0].rstrip(".").replace("|", "\\|")


def tables() -> str:
    """Every module with its sentence, folder by folder."""
    parts = []
    for folder, title in FOLDERS.items():
        rows = [f"| `{file.relative_to(PACKAGE / folder)}` | {first_sentence(file)} |" for file in modules(folder)]
        heading = [f"### lora_core/{folder}", "", f"{title}.", "", "| module | what it is for |", "| --- | --- |"]
        parts.append("\n".join([*heading, *rows]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(TEXT.format(rules=rules(), folders=folders(), tables=tables()), end="")
