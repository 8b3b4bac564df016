"""Compare the methods' scores on one task."""

from pathlib import Path

from lora_core.data.tasks import task_title
from lora_core.job import job_log
from lora_core.job_records import JobSource

source = JobSource(snakemake, __file__)
title = f"compare_scores {task_title(snakemake.wildcards.task)}"
with job_log(snakemake.log[0], title, snakemake.output, source):
    from lora_core.evaluation.references import References
    from lora_core.evaluation.run_predictions import read_predictions
    from lora_core.evaluation.scores import compare_scores

    runs = zip(snakemake.input.records, snakemake.input.predictions, strict=True)
    compare_scores(
        [read_predictions(*map(Path, files)) for files in runs],
        References(**snakemake.params.references),
        scores=Path(snakemake.output.scores),
        differences=Path(snakemake.output.differences),
    )
