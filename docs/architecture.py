"""Prints docs/architecture.md: its pictures of rules and modules are made from the code (`make pictures`)."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lora_core"
# What belongs together: a module stands in one room, and imports from its own and from rooms further down alone.
ROOMS = {
    "commands": "status doctor estimate compare bundle protocols.__main__",
    "showing": "frames claims collect rendering tables more_tables figures figures.style figures.scores figures.costs "
    "figures.beyond report report.page",
    "configuration": "config sections sweeps sources protocols methods.table",
    "evaluating": "scores bootstrap energy merging latency timing counts scaling",
    "training": "train epochs steps dropout checkpoint cards",
    "measuring": "meters trace memory",
    "methods": "layers adapter wrapped methods methods.full methods.lora methods.lowrank methods.loralib methods.peft "
    "methods.bitfit methods.houlsby",
    "models and data": "prepare hub models glue mini_glue data",
    "ground": "records provenance device joblog unlock seeds tasks metrics stats published",
}
TEXT = """# How is it built?

<!-- Made by `make pictures` (docs/architecture.py) from the code; a test holds it to the code. -->

A rule declares (`workflow/rules/`), a script adapts (`workflow/scripts/`, under 40 lines each), the package decides
(`lora_core/`). No science stands in rules and scripts, no Snakemake in the package, no file layout outside of
`records.py` and the rules.

## The rules

Every arrow is a file that is read. Each job carries a digest of the code it uses, found by following the imports of its
script: a change in code reruns the stages that use it, a touched file or a fresh checkout nothing.

```mermaid
{rules}
```

`all`, which asks for every table, figure and the report, is left out; so is `predict_memory`, which the table of memory
against model size needs. Training and timing are measured: each has the device, on a CPU the machine, to itself.

## The modules

An arrow: a room's modules import from another's; everything stands on the ground, so those arrows are left out. No
arrow leads up. What trains imports neither the configuration nor the tables, so that a word there reruns no training.

```mermaid
{rooms}
```

{tables}"""


def rules() -> str:
    """The rules of the embedded study as Snakemake draws them, in one order."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js"]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", drawn)}
    lines = sorted(f"    {a} --> {b}" for a, b in edges if b != "all")
    return "\n".join(["flowchart LR", *lines])


def modules() -> dict[str, Path]:
    """Every module of the package by its name; the package itself, which only forwards three names, is left out."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            found[name] = file
    return found


def imports(file: Path) -> set[str]:
    """The package's modules that a file imports anywhere."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lora_core":
            base = (node.module or "").removeprefix("lora_core").removeprefix(".")
            for alias in node.names:
                name = f"{base}.{alias.name}".removeprefix(".")
                found.add(name if name in known else base)
    return found & known.keys()


def rooms() -> str:
    """Which room imports from which."""
    room = {module: name for name, words in ROOMS.items() for module in words.split()}
    edges = {(room[a], room[b]) for a, file in modules().items() for b in imports(file) if room[a] != room[b]}
    order = list(ROOMS)
    wrong = [f"{a} imports from {b}" for a, b in edges if order.index(a) > order.index(b)]
    assert not wrong, wrong
    ids = {name: name.replace(" ", "_") for name in ROOMS}
    lines = [f'    {ids[name]}["{name}"]' for name in order[:-1]]
    return "\n".join(
        ["flowchart TB", *lines, *sorted(f"    {ids[a]} --> {ids[b]}" for a, b in edges if b != order[-1])]
    )


def sentence(file: Path) -> str:
    """What a module is for: its docstring's first sentence."""
    text = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", text)[0].rstrip(".").replace("|", "\\|")


def tables() -> str:
    """Every module with its sentence, room by room."""
    known = modules()
    parts = []
    for name, words in ROOMS.items():
        rows = [f"| `{module}` | {sentence(known[module])} |" for module in words.split()]
        parts.append(
            "\n".join([f"### {name[0].upper()}{name[1:]}", "", "| module | what it is for |", "| --- | --- |", *rows])
        )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(TEXT.format(rules=rules(), rooms=rooms(), tables=tables()), end="")
