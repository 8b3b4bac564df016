"""Predict training memory against model size, and count it on a real step of two models."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.methods.registry import module_name

source = JobSource(snakemake, __file__, module_name("full"), module_name("lora"))
with job_log(snakemake.log[0], "predict_memory", snakemake.output, source):
    from lora_core.evaluation.memory_scaling import predict_memory

    predict_memory(Path(snakemake.output[0]), snakemake.threads)
