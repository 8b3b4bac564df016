"""Draw score and time of a sweep against the parameters it trains."""

from pathlib import Path

from lora_core.joblog import job_log

with job_log(snakemake.log[0], "draw_sweep"):
    from lora_core.more_figures import sweep

    files = snakemake.input
    sweep(Path(files.counts[0]), files.scores, files.costs, snakemake.params.swept, Path(snakemake.output.svg))
