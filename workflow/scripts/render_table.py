"""Draw a table of the catalogue from its records."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], f"render_table {snakemake.wildcards.table}", snakemake.output):
    from lora_core.config.description import StudyDescription
    from lora_core.reporting import catalogue
    from lora_core.reporting.inputs import DrawSettings, input_files
    from lora_core.reporting.rendering import TableFiles, write_table

    draw = catalogue.table(snakemake.wildcards.table).function()
    inputs = input_files(dict(snakemake.input.items()))
    table = draw(inputs, DrawSettings.from_params(snakemake.params.settings))
    files = TableFiles(**{name: Path(file) for name, file in snakemake.output.items()})
    write_table(table, StudyDescription(**snakemake.params.study), files)
