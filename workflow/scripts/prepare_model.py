"""Write the configured model as a plain transformers folder, checked."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], "prepare_model", snakemake.output):
    from lora_core.models.pretrained import prepare_model
    from lora_core.records import write_digests

    folder = Path(snakemake.output.folder)
    prepare_model(snakemake.params.source, folder)
    write_digests(folder.iterdir(), Path(snakemake.output.record))
