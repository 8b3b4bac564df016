# `localrule`: a short job, some of which need a network; with a cluster profile it runs where snakemake runs. A list of
# names (`localrules:`) would not hold for a module whose rules are used under other names.


rule prepare_model:
    output:
        folder=directory(MODEL),
        record=MODEL_RECORD,
    log:
        LAYOUT.log("prepare_model"),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        source=params.model_params(study),
        precision=study.train.precision,
        code=code("prepare_model.py"),
    script:
        "../scripts/prepare_model.py"


# Before training, as the check of memory needs it.
rule tokenize_dataset:
    input:
        data=dataset_files,
        model=ancient(MODEL),
        model_record=unless_kept(LAYOUT.data_card, MODEL_RECORD),
    output:
        train=LAYOUT.train_data,
        validation=LAYOUT.validation_data,
        card=LAYOUT.data_card,
        sources=LAYOUT.data_sources,
    log:
        LAYOUT.log("tokenize_dataset/{task}"),
    wildcard_constraints:
        task=one_of(task for task in study.trained_tasks if task not in TESTED_TASKS),
    priority: 1000
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        dataset=lambda wildcards: params.data_params(study, wildcards.task),
        bytes=lambda wildcards: data_files.data_bytes(study, wildcards.task),
        code=code("tokenize_dataset.py"),
    script:
        "../scripts/tokenize_dataset.py"


# The same for tasks that have a test split, which is one more file.
if TESTED_TASKS:

    use rule tokenize_dataset as tokenize_dataset_with_test with:
        output:
            train=LAYOUT.train_data,
            validation=LAYOUT.validation_data,
            test=LAYOUT.test_data,
            card=LAYOUT.data_card,
            sources=LAYOUT.data_sources,
        wildcard_constraints:
            task=one_of(TESTED_TASKS),


rule count_parameters:
    input:
        model=ancient(MODEL),
        model_record=unless_kept(LAYOUT.counts, MODEL_RECORD),
    output:
        LAYOUT.counts,
    log:
        LAYOUT.log("count_parameters"),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        methods=params.method_params(study),
        code=code_of_methods("count_parameters.py", study.methods),
    script:
        "../scripts/count_parameters.py"


# Its priority lets it start before the runs. None depends on it: a head that cannot be trained fails this job and what
# shows its result, and ends no study early.
rule probe_gradients:
    input:
        model=ancient(MODEL),
        model_record=unless_kept(LAYOUT.gradients, MODEL_RECORD),
    output:
        LAYOUT.gradients,
    log:
        LAYOUT.log("probe_gradients/{method}"),
    priority: 1000
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        settings=lambda wildcards: study.settings(wildcards.method).to_params(),
        outputs=params.head_params(study),
        code=lambda wildcards: code_of_methods("probe_gradients.py", [wildcards.method]),
    script:
        "../scripts/probe_gradients.py"


# Before training, so that what does not fit into memory ends the study early.
rule check_memory:
    input:
        model=ancient(MODEL),
        data_card=unless_kept(LAYOUT.memory, LAYOUT.data_card),
    output:
        LAYOUT.memory,
    log:
        LAYOUT.log("check_memory/{task}"),
    priority: 1000
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **resources_of("other"),
    params:
        runs=lambda wildcards: params.memory_params(study, wildcards.task),
        # Of the machine, not of the study: with `input` in its signature it is not compared, and reruns nothing.
        limit=lambda wildcards, input: (
            vars(limit) if (limit := limit_of_memory()) else None
        ),
        code=code_of_methods("check_memory.py", study.methods),
    script:
        "../scripts/check_memory.py"


# Memory of training at other model sizes: from shapes, and counted on a real step of two models. It reads no data.
rule predict_memory:
    output:
        LAYOUT.memory_scaling,
    log:
        LAYOUT.log("predict_memory"),
    conda:
        ENVIRONMENT
    threads: threads_of_measured_jobs
    resources:
        **resources_of("measured"),
        device=1,
    params:
        code=code(
            "predict_memory.py", "lora_core.methods.full", "lora_core.methods.lora"
        ),
    script:
        "../scripts/predict_memory.py"


# Steps of full fine-tuning and of LoRA over a grid of sizes and on the study's own batches.
rule measure_regimes:
    input:
        model=ancient(MODEL),
        model_record=unless_kept(LAYOUT.regimes, MODEL_RECORD),
        data=ancient(expand(LAYOUT.train_data, task=study.tasks)),
        data_cards=unless_kept(
            LAYOUT.regimes, expand(LAYOUT.data_card, task=study.tasks)
        ),
    output:
        LAYOUT.regimes,
    log:
        LAYOUT.log("measure_regimes"),
    conda:
        ENVIRONMENT
    threads: threads_of_measured_jobs
    resources:
        **resources_of("measured"),
        device=1,
    params:
        regimes=params.regimes_params(study),
        code=code_of_methods("measure_regimes.py", params.regimes_methods(study)),
    script:
        "../scripts/measure_regimes.py"
