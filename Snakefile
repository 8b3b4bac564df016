# The workflow lies in workflow/Snakefile: an `include:` that keeps the default target of the included file.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
