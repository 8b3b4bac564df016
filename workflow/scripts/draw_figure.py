"""Draw one of the figures from its records."""

from pathlib import Path

from lora_core.job import job_log

name = snakemake.wildcards.figure
with job_log(snakemake.log[0], f"draw_figure {name}"):
    from lora_core.reporting.figures import beyond, costs, scores, style

    records, settings = snakemake.input, snakemake.params.settings
    draw = {
        "scores": lambda: scores.scores(records.scores),
        "score_over_epochs": lambda: scores.curves(records.curves, records.costs, "epochs"),
        "score_over_time": lambda: scores.curves(records.curves, records.costs, "time"),
        "score_over_energy": lambda: scores.curves(records.curves, records.costs, "energy"),
        "pareto": lambda: scores.pareto(records.scores, records.counts[0], records.runs, records.costs),
        "loss_curves": lambda: scores.loss_curves([Path(run).parent for run in records.runs]),
        "time_to_threshold": lambda: costs.to_threshold(records.costs, "time"),
        "energy_to_threshold": lambda: costs.to_threshold(records.costs, "energy"),
        "memory": lambda: costs.memory(records.runs),
        "latency": lambda: costs.latency(records.latency),
        "power": lambda: costs.power([Path(run).parent for run in records.runs]),
        "scaling": lambda: beyond.scaling(records.scaling[0]),
        "sweep": lambda: beyond.sweep(records.counts[0], records.scores, records.costs, settings["swept"]),
    }
    style.save(*draw[name](), Path(snakemake.output.svg))
