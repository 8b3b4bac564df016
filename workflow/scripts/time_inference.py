"""Time passes over the validation set with every method, merged and unmerged."""

from pathlib import Path

from lora_core.job import job_log

wildcards, params = snakemake.wildcards, snakemake.params
with job_log(Path(snakemake.log[0]), f"time_inference {wildcards.task} seed {wildcards.seed}"):
    from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
    from lora_core.methods.registry import settings_from_params
    from lora_core.time_stamps import correct_future

    merged = dict(zip(params.merged_methods, map(Path, snakemake.input.merged), strict=True))
    methods = [
        TimedMethod(name, settings_from_params(settings), Path(weights), merged.get(name), Path(record))
        for (name, settings), weights, record in zip(
            params.methods.items(), snakemake.input.weights, snakemake.input.records, strict=True
        )
    ]
    time_inference(
        methods,
        TimingInputs(
            model=Path(snakemake.input.model),
            data_card=Path(snakemake.input.data_card),
            validation_data=Path(snakemake.input.validation_data),
        ),
        LatencyPlan(**params.plan, seed=int(wildcards.seed), threads=snakemake.threads),
        TimingOutputs(passes=Path(snakemake.output.passes), record=Path(snakemake.output.record)),
    )
    # If the clock was set back in the meantime, Snakemake would take the results for older than their inputs.
    correct_future(map(Path, snakemake.input))
