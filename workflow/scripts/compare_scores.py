"""Compare the methods' scores on one task."""

from pathlib import Path

from lora_core.job import job_log

with job_log(Path(snakemake.log[0]), f"compare_scores {snakemake.wildcards.task}"):
    from lora_core.evaluation.references import References
    from lora_core.evaluation.scores import compare_scores
    from lora_core.layout import RunFiles

    compare_scores(
        RunFiles.of_each_run(**dict(snakemake.input.items())),
        References(**snakemake.params.references),
        scores=Path(snakemake.output.scores),
        differences=Path(snakemake.output.differences),
    )
