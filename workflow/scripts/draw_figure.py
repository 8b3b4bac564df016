"""Draw a figure of the catalogue from its records."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], f"draw_figure {snakemake.wildcards.figure}", snakemake.output):
    from lora_core.reporting import catalogue
    from lora_core.reporting.figures.style import save
    from lora_core.reporting.inputs import DrawSettings, input_files

    draw = catalogue.figure(snakemake.wildcards.figure).function()
    inputs = input_files(dict(snakemake.input.items()))
    figure, frame = draw(inputs, DrawSettings.from_params(snakemake.params.settings))
    save(figure, frame, svg=Path(snakemake.output.svg), csv=Path(snakemake.output.csv))
