"""Count the parameters that each method trains, with a head of two labels."""

from dataclasses import asdict
from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.methods.registry import module_name

modules = [module_name(settings["kind"]) for settings in snakemake.params.methods.values()]
source = JobSource(snakemake, __file__, *modules)
with job_log(snakemake.log[0], "count_parameters", snakemake.output, source):
    from lora_core.evaluation.parameter_counts import count_parameters
    from lora_core.intact import check_model
    from lora_core.methods.registry import settings_from_params
    from lora_core.records import write_json
    from lora_core.sealed import seal

    check_model(Path(snakemake.input.model), Path(snakemake.input.model_record))
    settings = {method: settings_from_params(values) for method, values in snakemake.params.methods.items()}
    counts = count_parameters(Path(snakemake.input.model), settings, outputs=2)
    write_json(Path(snakemake.output[0]), seal(asdict(counts)))
