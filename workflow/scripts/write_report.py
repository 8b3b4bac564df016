"""Write the report: one page that shows the whole study."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], "write_report"):
    from lora_core.reporting.page.page import write

    files = {name: [Path(file) for file in found] for name, found in snakemake.input.items()}
    out = Path(snakemake.output[0])
    write(out.parent, files["tables"], files["figures"], files["curves"], files["runs"], files["latency"], out)
