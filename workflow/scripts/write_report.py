"""Write the report: one page that shows the whole study."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource

source = JobSource(snakemake, __file__)
with job_log(snakemake.log[0], "write_report", snakemake.output, source):
    from lora_core.reporting.inputs import DrawSettings
    from lora_core.reporting.page.report import ReportInputs, write_report

    files = {
        name: Path(files) if isinstance(files, str) else [Path(file) for file in files]
        for name, files in snakemake.input.items()
    }
    write_report(ReportInputs(**files), DrawSettings.from_params(snakemake.params.settings), Path(snakemake.output[0]))
