rule render_table:
    input:
        unpack(unless_kept(f"{LAYOUT.table}.json", records_of_table)),
    output:
        json=f"{LAYOUT.table}.json",
        md=f"{LAYOUT.table}.md",
        csv=report(
            f"{LAYOUT.table}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        tex=f"{LAYOUT.table}.tex",
    log:
        LAYOUT.log("render_table/{table}"),
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        study=description_for_table,
        settings=lambda wildcards: settings_for(catalogue.table(wildcards.table)),
        code=lambda wildcards: code_of_drawing(
            "render_table.py", catalogue.table(wildcards.table)
        ),
    script:
        "../scripts/render_table.py"


rule draw_figure:
    input:
        unpack(unless_kept(f"{LAYOUT.figure}.csv", records_of_figure)),
    output:
        svg=report(
            f"{LAYOUT.figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        narrow=LAYOUT.narrow_figure,
        csv=f"{LAYOUT.figure}.csv",
    log:
        LAYOUT.log("draw_figure/{figure}"),
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        settings=lambda wildcards: settings_for(catalogue.figure(wildcards.figure)),
        code=lambda wildcards: code_of_drawing(
            "draw_figure.py", catalogue.figure(wildcards.figure)
        ),
    script:
        "../scripts/draw_figure.py"


rule judge_claims:
    input:
        **{
            name: unless_kept(f"{LAYOUT.claims}.csv", RECORDS[name])
            for name in (
                "counts",
                "differences",
                "latency",
                "latency_records",
                "runs",
                "costs",
                "measured_regimes",
            )
        },
    output:
        md=f"{LAYOUT.claims}.md",
        csv=report(
            f"{LAYOUT.claims}.csv", caption="../report/claims.rst", category="Claims"
        ),
    log:
        LAYOUT.log("judge_claims"),
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        claims=params.claims_params(study),
        code=code("judge_claims.py"),
    script:
        "../scripts/judge_claims.py"


rule write_report:
    input:
        unpack(unless_kept(LAYOUT.report, records_of_report)),
    output:
        report(LAYOUT.report, caption="../report/page.rst", category="Report"),
    log:
        LAYOUT.log("write_report"),
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        settings=params.report_params(study),
        code=code("write_report.py"),
    script:
        "../scripts/write_report.py"
