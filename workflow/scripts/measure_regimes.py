"""Time steps of full fine-tuning and of LoRA over a grid of sizes, and on the batches of the study."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.methods.registry import module_name

values = snakemake.params.regimes
kinds = {spec["settings"]["kind"] for specs in values["runs"].values() for spec in specs.values()}
source = JobSource(snakemake, __file__, *map(module_name, sorted(kinds)))
with job_log(snakemake.log[0], "measure_regimes", snakemake.output, source):
    from lora_core.measuring.exclusive import starting

    with starting(values["device"]):
        from lora_core.evaluation.regimes import RegimesPlan, measure_regimes
        from lora_core.training.spec import RunSpec

        specs = {
            method: {task: RunSpec.from_params(spec) for task, spec in runs.items()}
            for method, runs in values["runs"].items()
        }
        tasks = next(iter(specs.values()))
        measure_regimes(
            Path(snakemake.input.model),
            Path(snakemake.input.model_record),
            dict(zip(tasks, map(Path, snakemake.input.data), strict=True)),
            RegimesPlan(specs, values["seconds"], snakemake.threads),
            Path(snakemake.output[0]),
        )
