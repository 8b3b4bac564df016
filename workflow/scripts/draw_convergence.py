"""Draw score against epochs for every method."""

from pathlib import Path

from lora_core.joblog import job_log

with job_log(snakemake.log[0], "draw_convergence"):
    from lora_core.more_figures import convergence

    convergence(snakemake.input.curves, snakemake.input.costs, Path(snakemake.output.svg))
