"""Draw one of the tables from its records."""

from pathlib import Path

from lora_core.joblog import job_log

number = int(snakemake.wildcards.number)
with job_log(snakemake.log[0], f"render_table {number}"):
    from lora_core import rendering, tables

    records, settings = list(snakemake.input.records), snakemake.params.settings
    draw = {
        1: lambda: tables.parameters(Path(records[0])),
        2: lambda: tables.scores(records),
        3: lambda: tables.latency(records, settings["margin"]),
        4: lambda: tables.memory(records),
        5: lambda: tables.cost(5, records, settings["methods"]),
        6: lambda: tables.cost(6, records, settings["methods"]),
        7: lambda: tables.hyperparameters(settings["hyperparameters"]),
    }
    study = rendering.Study(**settings["study"])
    rendering.write(draw[number](), study, Path(snakemake.output.md).with_suffix(""))
