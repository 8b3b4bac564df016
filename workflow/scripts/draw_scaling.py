"""Draw what LoRA saves of training memory against model size."""

from pathlib import Path

from lora_core.joblog import job_log

with job_log(snakemake.log[0], "draw_scaling"):
    from lora_core.more_figures import scaling

    scaling(Path(snakemake.input[0]), Path(snakemake.output.svg))
