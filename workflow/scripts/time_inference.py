"""Time a pass over the validation set with every method, merged and unmerged."""

from pathlib import Path

from lora_core.job import job_log

wildcards, params = snakemake.wildcards, snakemake.params
with job_log(snakemake.log[0], f"time_inference {wildcards.task} seed {wildcards.seed}"):
    from lora_core.evaluation.latency import Method, Plan, time_inference

    merged = dict(zip(params.merging, map(Path, snakemake.input.merged), strict=True))
    timed = [
        Method(name, settings, Path(weights), merged.get(name))
        for (name, settings), weights in zip(params.methods.items(), snakemake.input.weights, strict=True)
    ]
    time_inference(
        timed,
        model_dir=Path(snakemake.input.model[0]),
        data_dir=Path(snakemake.input.data[0]).parent,
        csv=Path(snakemake.output.csv),
        seed=int(wildcards.seed),
        plan=Plan(**params.plan),
        device_name=params.device,
        threads=snakemake.threads,
    )
