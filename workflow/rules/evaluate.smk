rule time_inference:
    input:
        model=ancient(MODEL),
        model_record=unless_kept(LAYOUT.latency_record, MODEL_RECORD),
        data_card=unless_kept(LAYOUT.latency_record, LAYOUT.data_card),
        validation_data=ancient(LAYOUT.validation_data),
        weights=ancient(of_task_and_seed(LAYOUT.weights, study.methods)),
        records=unless_kept(
            LAYOUT.latency_record, of_task_and_seed(LAYOUT.run_record, study.methods)
        ),
        merged=ancient(of_task_and_seed(LAYOUT.merged, MERGED_METHODS)),
        merged_records=unless_kept(
            LAYOUT.latency_record,
            of_task_and_seed(LAYOUT.merged_record, MERGED_METHODS),
        ),
    output:
        passes=LAYOUT.latency,
        record=LAYOUT.latency_record,
    log:
        LAYOUT.log("time_inference/{task}/seed{seed}"),
    conda:
        ENVIRONMENT
    threads: threads_of_measured_jobs
    resources:
        **resources_of("measured"),
        device=1,
    params:
        methods=params.method_params(study),
        merged_methods=MERGED_METHODS,
        plan=params.latency_params(study),
        code=code_of_methods("time_inference.py", study.methods),
    script:
        "../scripts/time_inference.py"


rule compare_scores:
    input:
        records=unless_kept(LAYOUT.scores, of_task(LAYOUT.run_record)),
        predictions=ancient(of_task(LAYOUT.predictions)),
    output:
        scores=LAYOUT.scores,
        differences=LAYOUT.differences,
    log:
        LAYOUT.log("compare_scores/{task}"),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        references=params.reference_params(study),
        code=code("compare_scores.py"),
    script:
        "../scripts/compare_scores.py"


rule aggregate_energy:
    input:
        records=unless_kept(LAYOUT.costs, of_task(LAYOUT.run_record)),
        histories=ancient(of_task(LAYOUT.history)),
        power=ancient(of_task(LAYOUT.power)),
    output:
        costs=LAYOUT.costs,
        curve=LAYOUT.curve,
    log:
        LAYOUT.log("aggregate_energy/{task}"),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        references=params.reference_params(study),
        code=code("aggregate_energy.py"),
    script:
        "../scripts/aggregate_energy.py"


rule collect_runs:
    input:
        unless_kept(LAYOUT.runs, RECORDS["runs"]),
    output:
        report(LAYOUT.runs, caption="../report/runs.rst", category="Runs"),
    log:
        LAYOUT.log("collect_runs"),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        code=code("collect_runs.py"),
    script:
        "../scripts/collect_runs.py"
