"""Write the model card of a run from its record."""

from pathlib import Path

from lora_core.data.titles import run_title
from lora_core.job import job_log
from lora_core.job_records import JobSource
from lora_core.methods.registry import module_name

wildcards = snakemake.wildcards
source = JobSource(snakemake, __file__, module_name(snakemake.params.settings["kind"]))
run = run_title(snakemake.config.get("_labels", {}), wildcards.method, wildcards.task, wildcards.seed)
with job_log(snakemake.log[0], f"write_model_card {run}", snakemake.output, source):
    from lora_core.methods.registry import settings_from_params
    from lora_core.reporting.card_metadata import CardFacts
    from lora_core.reporting.model_card import write_model_card

    settings = settings_from_params(snakemake.params.settings)
    write_model_card(
        Path(snakemake.input.record),
        Path(snakemake.output[0]),
        label=snakemake.params.label,
        library=settings.library,
        can_merge=settings.can_merge(),
        facts=CardFacts(**snakemake.params.facts),
    )
