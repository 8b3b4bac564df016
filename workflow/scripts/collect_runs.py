"""Write one tidy row per run and quantity."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource

source = JobSource(snakemake, __file__)
with job_log(snakemake.log[0], "collect_runs", snakemake.output, source):
    from lora_core.evaluation.collect_runs import collect_runs

    collect_runs([Path(record) for record in snakemake.input], Path(snakemake.output[0]))
