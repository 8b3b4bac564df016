"""Draws docs/regimes.svg and writes the tables of docs/regimes.md from docs/records/h200 (`make pictures`)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import results_gpu
import savings

from lora_core.data.tasks import task_title
from lora_core.evaluation import break_even as costs
from lora_core.reporting.figures.canvas import SMALL, add_legend, panels, set_title
from lora_core.reporting.figures.style import COLORS, GRAY, INK
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.published import TABLES as PUBLISHED

RECORD = Path(__file__).parent / "records/h200/regimes.jsonl"
LABELS = {"cola": "right", "stsb": "center", "mrpc": "center", "rte": "center"}  # alignment of the name above a star


def steps() -> pd.DataFrame:
    """One row per method, precision, shape and execution: milliseconds, watts and joules of a step.

    Of a step as a graph, also the milliseconds of its parts: forward, backward and update.
    """
    rows = []
    for record in _records("step"):
        key = {name: record[name] for name in ("method", "precision", "rows", "tokens")}
        for execution in ("graph", "eager"):
            if execution in record:
                parts = _parts(record) if execution == "graph" and "graph_forward_ms" in record else {}
                timed = {name: record[execution][name] for name in ("ms", "watts")}
                rows.append({**key, "execution": execution, "saved_mb": record["saved_mb"], **timed, **parts})
    frame = pd.DataFrame(rows)
    return frame.assign(tokens_per_step=frame["rows"] * frame["tokens"], joules=frame["ms"] * frame["watts"] / 1e3)


def _parts(record: dict[str, Any]) -> dict[str, float]:
    forward, both = record["graph_forward_ms"], record["graph_forward_backward_ms"]
    return {"forward": forward, "backward": both - forward, "update": record["graph"]["ms"] - both}


def _records(name: str) -> list[dict[str, Any]]:
    records = map(json.loads, RECORD.read_text(encoding="utf-8").splitlines())
    return [record for record in records if record["name"] == name]


def compared(precision: str, execution: str) -> pd.DataFrame:
    """One row per shape, in the order of tokens per step: a step of full fine-tuning and of LoRA, and LoRA / full."""
    frame = steps()
    frame = frame[(frame["precision"] == precision) & (frame["execution"] == execution)]
    keys = ["tokens_per_step", "rows", "tokens"]
    full, lora = (frame[frame["method"] == method].set_index(keys) for method in ("full", "lora"))
    joined = full.join(lora, lsuffix="_full", rsuffix="_lora").sort_index().reset_index()
    time, energy = (joined[f"{column}_lora"] / joined[f"{column}_full"] for column in ("ms", "joules"))
    return joined.assign(time=time, energy=energy)


def published() -> pd.DataFrame:
    """One row per task: time and energy of an epoch of LoRA relative to full fine-tuning, from tables 5 and 6."""
    full, lora = (_cost_of_epoch(name) for name in ("table5", "table6"))
    return lora / full


def _cost_of_epoch(table: str) -> pd.DataFrame:
    """Time and energy of an epoch by task, from a table of the paper."""
    rows = PUBLISHED[table]
    labels = {"time": "train time (s)", "energy": "energy (kJ)"}
    values = {
        name: [rows.value(label, task) / rows.value("epochs", task) for task in rows.columns]
        for name, label in labels.items()
    }
    return pd.DataFrame(values, index=pd.Index(rows.columns, name="task"))


def draw() -> Drawing:
    """Draw time and energy of LoRA relative to full fine-tuning by tokens per step."""
    figure, axes = panels(["", ""], height=260, sharex=True)
    graph, eager, study = compared("bf16", "graph"), compared("bf16", "eager"), results_gpu.epochs()
    paper = published().join(study["tokens_per_step"], how="inner")
    points: tuple[tuple[pd.DataFrame, str, dict[str, Any]], ...] = (
        (graph, "one step, CUDA graphs", {"color": COLORS[0], "marker": "o"}),
        (eager, "one step, eager", {"color": COLORS[1], "marker": "s", "linestyle": "--"}),
        (study, "an epoch of MPNet, CUDA graphs", {"color": COLORS[2], "marker": "D", "linestyle": "none"}),
        (paper, "the paper: an epoch, RTX 3080 Ti",
         {"color": INK, "marker": "*", "markersize": 11, "linestyle": "none"}),
    )  # fmt: skip
    for column, panel in zip(("time", "energy"), axes, strict=True):
        panel.axhline(1, color=GRAY, linewidth=0.8)
        for frame, label, style in points:
            panel.plot(frame["tokens_per_step"], frame[column], label=label, **style)
        panel.set_ylabel(f"{column}, LoRA / full")
        panel.set_ylim(0.25, 1.45)
    for task, align in LABELS.items():
        place = (paper.at[task, "tokens_per_step"], paper.at[task, "energy"])
        axes[-1].annotate(task_title(task), place, (0, 6), textcoords="offset points", ha=align, fontsize=SMALL)
    for panel in axes:
        _label_tokens(panel, graph["tokens_per_step"])
    add_legend(figure, axes)
    set_title(figure, _title(graph, eager))
    return figure, graph


def _label_tokens(panel: Any, tokens: pd.Series) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(tokens, [f"{count:,}" for count in tokens])
    panel.set_xlabel("tokens per step (of a task: without padding)")


def _title(graph: pd.DataFrame, eager: pd.DataFrame) -> str:
    time, energy, eager_time = (
        f"{values.min():.2f} to {values.max():.2f}" for values in (graph["time"], graph["energy"], eager["time"])
    )
    return (
        f"With CUDA graphs, a LoRA step takes {time} of full fine-tuning's time and {energy} of its energy; eager "
        f"{eager_time} of its time (bf16, H200)"
    )


def tables() -> dict[str, Sequence[str]]:
    """The tables of docs/regimes.md by the name of their marker."""
    return {
        "graphs": _graph_table(),
        "parts": _parts_table(),
        "eager": _eager_table(),
        "precision": _precision_table(),
        "paper": _paper_table(),
        **savings.tables(compared("bf16", "graph")),
    }


def _graph_table() -> list[str]:
    head = (
        *("rows × tokens", "tokens per step", "full, ms", "LoRA, ms", "time, LoRA / full", "full, W", "LoRA, W"),
        *("energy, LoRA / full", "full, mJ per token", "LoRA, mJ per token"),
    )
    rows = (
        [
            *_shape(row),
            *(f"{row[name]:.2f}" for name in ("ms_full", "ms_lora", "time")),
            *(f"{row[name]:.0f}" for name in ("watts_full", "watts_lora")),
            f"{row['energy']:.2f}",
            *(f"{1e3 * row[name] / row['tokens_per_step']:.2f}" for name in ("joules_full", "joules_lora")),
        ]
        for _, row in compared("bf16", "graph").iterrows()
    )
    return results_gpu.markdown_table(head, rows)


def _parts_table() -> list[str]:
    parts = ("forward", "backward", "update")
    head = ("rows × tokens", "tokens per step", *(f"{part}, full / LoRA, ms" for part in parts))
    rows = (
        [*_shape(row), *(f"{row[f'{part}_full']:.2f} / {row[f'{part}_lora']:.2f}" for part in parts)]
        for _, row in compared("bf16", "graph").iterrows()
    )
    return results_gpu.markdown_table(head, rows)


def _shape(row: pd.Series) -> list[str]:
    return [f"{row['rows']:.0f} × {row['tokens']:.0f}", f"{row['tokens_per_step']:,.0f}"]


def _eager_table() -> list[str]:
    head = (
        *("rows × tokens", "tokens per step", "full, ms", "LoRA, ms", "time, LoRA / full", "energy, LoRA / full"),
        *("full, eager / graph", "LoRA, eager / graph"),
    )
    keys = ["tokens_per_step", "rows", "tokens"]
    frame = compared("bf16", "eager").merge(compared("bf16", "graph"), on=keys, suffixes=("", "_graph"))
    rows = (
        [
            *_shape(row),
            *(f"{row[name]:.1f}" for name in ("ms_full", "ms_lora")),
            *(f"{row[name]:.2f}" for name in ("time", "energy")),
            *(f"{row[f'ms_{method}'] / row[f'ms_{method}_graph']:.1f}" for method in ("full", "lora")),
        ]
        for _, row in frame.iterrows()
    )
    return results_gpu.markdown_table(head, rows)


def _precision_table() -> list[str]:
    """Steps of 16 × 16 tokens in float32 and bf16, with the kernels that they launch."""
    kernels = {(r["method"], r["precision"]): r["forward_both_step"][-1] for r in _records("kernels")}
    frame = steps()
    frame = frame[(frame["rows"] == 16) & (frame["tokens"] == 16)].set_index(["method", "precision", "execution"])
    rows = []
    for method, label in (("full", "full"), ("lora", "LoRA")):
        for precision, name in (("fp32", "float32"), ("bf16", "bf16")):
            count, busy = kernels[method, precision]
            times = [frame.at[(method, precision, execution), "ms"] for execution in ("eager", "graph")]
            rows.append([label, name, *(f"{ms:.1f}" for ms in times), f"{count:,}", f"{busy:.1f}"])
    head = ("method", "precision", "eager, ms", "graph, ms", "kernels in a step", "all kernels, ms")
    return results_gpu.markdown_table(head, rows)


def break_even() -> pd.DataFrame:
    """One row per task of the paper: how many times as many epochs LoRA may take and took, and what it then cost."""
    full, lora = PUBLISHED["table5"], PUBLISHED["table6"]
    allowed = costs.break_even(*map(_cost_of_epoch, ("table5", "table6")))

    def relative(label: str) -> list[float]:
        return [lora.value(label, task) / full.value(label, task) for task in full.columns]

    return allowed.assign(
        took=relative("epochs"), cost=relative("energy (kJ)"), cost_in_time=relative("train time (s)")
    )


def _paper_table() -> list[str]:
    head = (
        *("task", "LoRA may take, before it costs more time", "before it costs more energy", "it took"),
        "energy, LoRA / full",
    )
    rows = (
        [task_title(str(task)), *(f"{value:.2f}" for value in row[["time", "energy", "took", "cost"]])]
        for task, row in break_even().iterrows()
    )
    return results_gpu.markdown_table(head, rows)
