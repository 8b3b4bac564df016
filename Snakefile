configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/handlers.smk"


rule all:
    default_target: True
    input:
        TABLES,
        f"{RESULTS}/report.html",
        f"{RESULTS}/claims.md",
        f"{RESULTS}/runs.csv",
        FIGURES,
        # By name, so that a deleted run comes back although the tables made from it are there.
        RUNS,
        FIRST_RUNS,
        WEIGHTS,
