# A measured job has its device to itself, on a CPU the machine. How many may run at once: common.smk.
rule train:
    input:
        # Not named, because the run does not read it: it says that the batches fit.
        ancient(unless_run_is_kept(LAYOUT.memory)),
        model=ancient(unless_run_is_kept(MODEL)),
        model_record=unless_kept(LAYOUT.run_record, unless_run_is_kept(MODEL_RECORD)),
        train_data=ancient(unless_run_is_kept(LAYOUT.train_data)),
        validation_data=ancient(unless_run_is_kept(LAYOUT.validation_data)),
        test_data=ancient(unless_run_is_kept(test_file)),
        data_card=unless_kept(LAYOUT.run_record, unless_run_is_kept(LAYOUT.data_card)),
        start_weights=ancient(unless_run_is_kept(start_file(LAYOUT.weights))),
        start_record=unless_kept(
            LAYOUT.run_record, unless_run_is_kept(start_file(LAYOUT.run_record))
        ),
    output:
        record=LAYOUT.run_record,
        history=LAYOUT.history,
        power=LAYOUT.power,
        predictions=LAYOUT.predictions,
        weights=directory(LAYOUT.weights),
    log:
        LAYOUT.train_log,
    # Shuffled over methods, so that the device's temperature follows no method.
    priority: lambda wildcards: derive(0, "-".join(wildcards)) % 1000
    conda:
        ENVIRONMENT
    threads: threads_of_measured_jobs
    resources:
        **resources_of("measured"),
        device=1,
    params:
        run=lambda wildcards: params.run_params(
            study, wildcards.method, wildcards.task, int(wildcards.seed)
        ),
        progress=LAYOUT.progress,
        lock=LAYOUT.run_lock,
        checkpoint=LAYOUT.checkpoint,
        code=lambda wildcards: code_of_methods("train.py", [wildcards.method]),
    script:
        "../scripts/train.py"


rule write_model_card:
    input:
        record=unless_kept(LAYOUT.model_card, LAYOUT.run_record),
    output:
        LAYOUT.model_card,
    log:
        LAYOUT.log("write_model_card/{method}/{task}/seed{seed}"),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        settings=lambda wildcards: study.settings(wildcards.method).to_params(),
        label=lambda wildcards: study.labels[wildcards.method],
        facts=params.card_params(study),
        code=lambda wildcards: code_of_methods(
            "write_model_card.py", [wildcards.method]
        ),
    script:
        "../scripts/write_model_card.py"


rule merge_adapter:
    input:
        model=ancient(MODEL),
        model_record=unless_kept(LAYOUT.merged_record, MODEL_RECORD),
        weights=ancient(LAYOUT.weights),
        record=unless_kept(LAYOUT.merged_record, LAYOUT.run_record),
    output:
        folder=directory(LAYOUT.merged),
        record=LAYOUT.merged_record,
    log:
        LAYOUT.log("merge_adapter/{method}/{task}/seed{seed}"),
    wildcard_constraints:
        method=one_of(MERGED_METHODS),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        code=code("merge_adapter.py"),
    script:
        "../scripts/merge_adapter.py"
