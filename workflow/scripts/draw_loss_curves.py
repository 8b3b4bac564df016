"""Draw the training losses of the adapter methods one on the other."""

from pathlib import Path

from lora_core.joblog import job_log

with job_log(snakemake.log[0], "draw_loss_curves"):
    from lora_core.figures import loss_curves

    loss_curves([Path(run).parent for run in snakemake.input.run], Path(snakemake.output.svg))
