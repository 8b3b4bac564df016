"""Find out which parameters that a method trains get a gradient."""

from dataclasses import asdict
from pathlib import Path

from lora_core.data.titles import run_title
from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.methods.registry import module_name

method, settings = run_title(snakemake.config.get("_labels", {}), snakemake.wildcards.method), snakemake.params.settings
source = JobSource(snakemake, __file__, module_name(settings["kind"]))
with job_log(snakemake.log[0], f"probe_gradients {method}", snakemake.output, source):
    from lora_core.evaluation.gradient_probe import probe_gradients
    from lora_core.intact import check_model
    from lora_core.layout import Layout, place
    from lora_core.methods.registry import settings_from_params
    from lora_core.records import write_json
    from lora_core.sealed import seal

    model, out = Path(snakemake.input.model), Path(snakemake.output[0])
    check_model(model, Path(snakemake.input.model_record))
    gradients = probe_gradients(model, method, settings_from_params(settings), snakemake.params.outputs)
    write_json(out, seal(asdict(gradients), place(Layout.gradients, out)))
