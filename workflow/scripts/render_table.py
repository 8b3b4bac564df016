"""Draw one of the tables from its records."""

from pathlib import Path

from lora_core.job import job_log

name = snakemake.wildcards.table
with job_log(snakemake.log[0], f"render_table {name}"):
    from lora_core.reporting import more_tables, rendering, tables

    records, settings = snakemake.input, snakemake.params.settings
    draw = {
        "table1": lambda: tables.parameters(Path(records.counts[0])),
        "table2": lambda: tables.scores(records.scores),
        "table3": lambda: tables.latency(records.latency, settings["margin"]),
        "table4": lambda: tables.memory(records.runs),
        "table5": lambda: tables.cost(name, records.costs, settings["methods"]),
        "table6": lambda: tables.cost(name, records.costs, settings["methods"]),
        "table7": lambda: tables.hyperparameters(settings["hyperparameters"]),
        "scaling": lambda: more_tables.scaling(Path(records.scaling[0])),
        "sweep": lambda: more_tables.sweep(Path(records.counts[0]), records.scores, records.costs, settings["swept"]),
        "convergence": lambda: more_tables.convergence(records.costs, records.runs),
    }
    study = rendering.Study(**settings["study"])
    rendering.write(draw[name](), study, Path(snakemake.output.md).with_suffix(""))
