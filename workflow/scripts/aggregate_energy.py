"""Compute the cost at equal accuracy on one task."""

from pathlib import Path

from lora_core.job import job_log

with job_log(Path(snakemake.log[0]), f"aggregate_energy {snakemake.wildcards.task}"):
    from lora_core.evaluation.cost_to_threshold import write_costs
    from lora_core.evaluation.references import References
    from lora_core.layout import RunFiles

    write_costs(
        RunFiles.of_each_run(**dict(snakemake.input.items())),
        References(**snakemake.params.references),
        costs=Path(snakemake.output.costs),
        curve=Path(snakemake.output.curve),
    )
