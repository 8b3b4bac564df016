"""Time passes over the validation set with every method, merged and unmerged."""

from pathlib import Path

from lora_core.data.titles import run_title
from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.methods.registry import module_name

wildcards, params = snakemake.wildcards, snakemake.params
modules = [module_name(settings["kind"]) for settings in snakemake.params.methods.values()]
source = JobSource(snakemake, __file__, *modules, inputs=False)
title = f"time_inference {run_title({}, task=wildcards.task, seed=wildcards.seed)}"
with job_log(snakemake.log[0], title, snakemake.output, source):
    from lora_core.measuring.exclusive import starting
    from lora_core.time_stamps import correct_future

    with starting(params.plan["device"]):
        from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
        from lora_core.methods.registry import settings_from_params

        inputs = snakemake.input
        merged_files = zip(map(Path, inputs.merged), map(Path, inputs.merged_records), strict=True)
        merged = dict(zip(params.merged_methods, merged_files, strict=True))
        runs = zip(params.methods.items(), map(Path, inputs.weights), map(Path, inputs.records), strict=True)
        methods = [
            TimedMethod(name, settings_from_params(settings), weights, *merged.get(name, ()), run_record=record)
            for (name, settings), weights, record in runs
        ]
        time_inference(
            methods,
            TimingInputs(
                *map(Path, (inputs.model, inputs.data_card, inputs.validation_data, inputs.model_record)),
            ),
            LatencyPlan(**params.plan, seed=int(wildcards.seed), threads=snakemake.threads),
            TimingOutputs(passes=Path(snakemake.output.passes), record=Path(snakemake.output.record)),
        )
    # If the clock was set back in the meantime, Snakemake would take the results for older than their inputs.
    correct_future(map(Path, snakemake.input))
