"""Train one method on one task with one seed."""

from pathlib import Path

from lora_core.data.titles import run_title
from lora_core.job import job_log
from lora_core.methods.registry import module_name

params, wildcards = snakemake.params, snakemake.wildcards
run = run_title(snakemake.config.get("_labels", {}), wildcards.method, wildcards.task, wildcards.seed)
with job_log(snakemake.log[0], f"train {run}", snakemake.output):
    from lora_core.running_code import RunningCode

    # Made before the code is imported. The script of a workflow that was fetched has an address, but no file.
    method = module_name(params.run["settings"]["kind"])
    code = RunningCode(Path(__file__), method) if Path(__file__).is_file() else None

    from lora_core.measuring.exclusive import starting
    from lora_core.time_stamps import correct_future

    with starting(params.run["device"]):
        from lora_core.training.checkpoint import CheckpointSettings
        from lora_core.training.run import RunInputs, RunOutputs, train
        from lora_core.training.spec import RunSpec

        files = {name: Path(file) for name, file in snakemake.input.items() if file}
        seconds = snakemake.config["train"]["checkpoint_seconds"]
        outputs = {name: Path(file) for name, file in snakemake.output.items()}
        train(
            RunSpec.from_params(params.run),
            RunInputs(**files),
            RunOutputs(**outputs, progress=Path(params.progress), lock=Path(params.lock)),
            snakemake.threads,
            # Not a parameter of the rule: the interval changes no result, so a change must not rerun the training.
            CheckpointSettings(Path(params.checkpoint), seconds, code=code.digest if code else params.code),
            code,
        )
    # If the clock was set back in the meantime, Snakemake would take the results for older than their inputs.
    correct_future(map(Path, snakemake.input))
