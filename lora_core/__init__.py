"""What LoRA buys: the science behind the workflow, importable and tested without Snakemake."""
