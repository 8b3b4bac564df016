"""Draw a table of the catalogue from its records."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.reporting import catalogue

entry = catalogue.table(snakemake.wildcards.table)
source = JobSource(snakemake, __file__, entry.module)
with job_log(snakemake.log[0], f"render_table {snakemake.wildcards.table}", snakemake.output, source):
    from lora_core.config.description import StudyDescription
    from lora_core.kept_runs import kept_runs
    from lora_core.reporting.inputs import DrawSettings, input_files
    from lora_core.reporting.kept import mark_kept
    from lora_core.reporting.rendering import TableFiles, write_table

    draw = entry.function()
    inputs = input_files(dict(snakemake.input.items()))
    kept, settings = kept_runs(inputs.pop("kept", [])), DrawSettings.from_params(snakemake.params.settings)
    table = mark_kept(draw(inputs, settings), kept, settings)
    files = TableFiles(**{name: Path(file) for name, file in snakemake.output.items()})
    write_table(table, StudyDescription(**snakemake.params.study), files)
