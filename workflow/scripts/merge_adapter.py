"""Fold a run's adapter into plain weights."""

from pathlib import Path

from lora_core.data.titles import run_title
from lora_core.job import job_log
from lora_core.job_records import JobSource

wildcards = snakemake.wildcards
source = JobSource(snakemake, __file__, inputs=False)
run = run_title(snakemake.config.get("_labels", {}), wildcards.method, wildcards.task, wildcards.seed)
with job_log(snakemake.log[0], f"merge_adapter {run}", snakemake.output, source):
    from lora_core.methods.merging import merge_adapter
    from lora_core.records import read_run_record, write_digests

    folder = Path(snakemake.output.folder)

    merge_adapter(
        base=Path(snakemake.input.model),
        weights=Path(snakemake.input.weights),
        record=Path(snakemake.input.record),
        out=folder,
        base_record=Path(snakemake.input.model_record),
    )
    record = read_run_record(Path(snakemake.input.record))
    made_from = {name: digest for name, digest in record.get("files", {}).items() if name.startswith("weights/")}
    write_digests(folder.iterdir(), Path(snakemake.output.record), made_from)
