"""Train one method on one task with one seed."""

from pathlib import Path

from lora_core.job import job_log

spec = snakemake.params.spec
with job_log(snakemake.log[0], f"train {spec['method']} {spec['task']} seed {spec['seed']}"):
    from lora_core.training.run import Spec, train

    train(
        Spec(**spec),
        model_dir=Path(snakemake.input.model[0]),
        data_dir=Path(snakemake.input.data[0]).parent,
        start=Path(snakemake.input.start[0]) if snakemake.input.start else None,
        out=Path(snakemake.output.run).parent,
        threads=snakemake.threads,
        checkpoints=Path(snakemake.params.checkpoints),
        # Not a parameter of the rule: it changes no result, and no run is made anew for it.
        checkpoint_seconds=snakemake.config["train"]["checkpoint_seconds"],
    )
