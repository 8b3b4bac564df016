"""Count what each method trains, for a head with two labels."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], "count_parameters"):
    from lora_core.evaluation.parameter_counts import count_parameters
    from lora_core.records import write_json

    counts = count_parameters(Path(snakemake.input.model[0]), snakemake.params.methods, outputs=2)
    write_json(Path(snakemake.output[0]), counts)
