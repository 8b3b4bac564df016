"""What equal accuracy costs on one task."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], f"aggregate_energy {snakemake.wildcards.task}"):
    from lora_core.evaluation.cost_to_threshold import aggregate

    runs = [Path(run).parent for run in snakemake.input.run]
    aggregate(runs, Path(snakemake.output.costs), Path(snakemake.output.curve))
