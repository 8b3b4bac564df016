"""Compute the cost at equal accuracy on one task."""

from pathlib import Path

from lora_core.data.tasks import task_title
from lora_core.job import job_log
from lora_core.job_records import JobSource

source = JobSource(snakemake, __file__)
title = f"aggregate_energy {task_title(snakemake.wildcards.task)}"
with job_log(snakemake.log[0], title, snakemake.output, source):
    from lora_core.evaluation.cost_to_threshold import write_costs
    from lora_core.evaluation.references import References
    from lora_core.evaluation.run_history import read_history

    runs = zip(snakemake.input.records, snakemake.input.histories, snakemake.input.power, strict=True)
    write_costs(
        [read_history(*map(Path, files)) for files in runs],
        References(**snakemake.params.references),
        costs=Path(snakemake.output.costs),
        curve=Path(snakemake.output.curve),
    )
