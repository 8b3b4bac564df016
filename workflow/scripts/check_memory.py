"""Predict whether the largest batch of a task fits into memory with each method; refuse what does not."""

import os
from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.methods.registry import module_name

params, task = snakemake.params, snakemake.wildcards.task
modules = [module_name(run["settings"]["kind"]) for run in params.runs.values()]
source = JobSource(snakemake, __file__, *modules, inputs=False)
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a context on a GPU would disturb a run that is measured there
with job_log(snakemake.log[0], f"check_memory {task}", snakemake.output, source):
    from lora_core.data.card import read_data_card
    from lora_core.evaluation.memory_check import check_memory
    from lora_core.measuring.memory_limit import MemoryLimit
    from lora_core.training.spec import RunSpec

    check_memory(
        Path(snakemake.input.model),
        read_data_card(Path(snakemake.input.data_card)),
        {method: RunSpec.from_params(run) for method, run in params.runs.items()},
        MemoryLimit(**params.limit) if params.limit else None,
        Path(snakemake.output[0]),
    )
