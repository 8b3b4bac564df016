"""Compare the methods' scores on one task."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], f"compare_scores {snakemake.wildcards.task}"):
    from lora_core.evaluation.scores import compare

    runs = [Path(run).parent for run in snakemake.input.run]
    compare(runs, Path(snakemake.output.scores), Path(snakemake.output.differences))
