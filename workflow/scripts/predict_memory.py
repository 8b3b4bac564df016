"""Predict training memory against model size, and count it on a real step of two models."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], "predict_memory", snakemake.output):
    from lora_core.evaluation.memory_scaling import predict_memory

    predict_memory(Path(snakemake.output[0]), snakemake.threads)
