"""Draw a figure of the catalogue from its records."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.reporting import catalogue

entry = catalogue.figure(snakemake.wildcards.figure)
source = JobSource(snakemake, __file__, entry.module)
with job_log(snakemake.log[0], f"draw_figure {snakemake.wildcards.figure}", snakemake.output, source):
    from lora_core.kept_runs import kept_runs
    from lora_core.reporting.figures.svg import FigureFiles, write_figure
    from lora_core.reporting.inputs import DrawSettings, input_files
    from lora_core.reporting.kept import kept_notes

    draw = entry.function()
    inputs = input_files(dict(snakemake.input.items()))
    files = FigureFiles(**{name: Path(file) for name, file in snakemake.output.items()})
    kept, settings = kept_runs(inputs.pop("kept", [])), DrawSettings.from_params(snakemake.params.settings)
    write_figure(draw, inputs, settings, files, kept_notes(kept, settings))
