"""Write the configured model as a plain transformers folder, checked."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource

source = JobSource(snakemake, __file__, inputs=False)
with job_log(snakemake.log[0], "prepare_model", snakemake.output, source):
    from lora_core.models.pretrained import prepare_model
    from lora_core.records import write_digests

    folder = Path(snakemake.output.folder)
    prepare_model(snakemake.params.source, folder, snakemake.params.precision)
    write_digests(folder.iterdir(), Path(snakemake.output.record))
