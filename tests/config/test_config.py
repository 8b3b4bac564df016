"""The configuration: closed, typed, every error at once, overlays laid as a user expects."""

import copy

import pytest
import yaml
from builders import DEFAULT, ROOT, changed

from lora_core.config.protocol import compare
from lora_core.config.study import PROTOCOLS, ConfigError, Protocol, json_schema, load
from lora_core.data.tasks import PAPER_TASKS
from lora_core.methods.settings import KINDS, Hyperparameters
from lora_core.reporting.published import TABLES
from lora_core.reporting.rendering import sweep_labels


def test_every_error_is_reported_at_once_with_path_and_nearest_name():
    config = changed(
        methods=["fft", "lor"], tasks=["cola", "rtee"], seeds=[], trian={}, protocol="table8", model__source="wheeel",
        method_settings__lora__rank=-4, method_settings__lora__rnk=4, measure__meter="nvlm",
        method_settings__fft__hyperparameters={"epochs": "many"},
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        load(config)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("10 error(s)")
    expected = {
        "methods: no entry 'lor' in method_settings; did you mean 'lora'?",
        "protocol: unknown protocol 'table8'; did you mean 'table7'?",
        "model.source: unknown 'wheeel'; did you mean 'wheel'?",
        "tasks.1: unknown value 'rtee'; did you mean 'rte'?",
        "method_settings.lora.rnk: unknown key; did you mean 'rank'?",
        "measure.meter: unknown value 'nvlm'; did you mean 'nvml'?",
        "trian: unknown key; did you mean 'train'?",
        "method_settings.lora.rank: input should be greater than 0 (given: -4)",
    }
    assert expected <= {line.removeprefix("  - ") for line in lines}
    assert any(line.startswith("  - seeds: ") for line in lines)
    assert any(line.startswith("  - method_settings.fft.hyperparameters.epochs: ") for line in lines)


@pytest.mark.parametrize("value", ["2e-5", "2.0e-5", 2e-5])
def test_a_learning_rate_that_yaml_reads_as_text_is_accepted(value):
    study = load(changed(method_settings__lora__hyperparameters={"learning_rate": value}))
    assert study.hyperparameters("lora", "cola")["learning_rate"] == 2e-5


OWN = {"path": "folder", "texts": ["text"], "labels": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [1, 1]}, "seeds: an entry stands twice"),
        ({"seeds": ["one"]}, "seeds.0: "),
        ({"seeds": [-1]}, "seeds.0: "),
        ({"results_dir": "-rf"}, "results_dir: "),
        ({"results_dir": "a{b}"}, "results_dir: "),
        ({"model__revision": "main"}, "model.revision: unknown key"),
        ({"train__precision": "fp8"}, "train.precision: unknown value 'fp8'"),
        ({"method_settings__fft__rank": 8}, "method_settings.fft.rank: unknown key"),
        ({"method_settings__lora__task_hyperparameters": {"colla": {}}}, "unknown task 'colla'; did you mean 'cola'"),
        ({"method_settings__a/b": {"kind": "full"}}, "method_settings"),
        ({"method_settings__lora": 3}, "method_settings.lora"),
        ({"methods": "fft"}, "methods: "),
        ({"seeds": [1, 1.0]}, "seeds: an entry stands twice"),
        ({"results_dir": "~/results"}, "results_dir: "),
        ({"method_settings__lora__task_hyperparameters": None}, "task_hyperparameters: "),
        ({"method_settings__lora__hyperparameters": {"epochs": None}}, "epochs: .*leave the key out"),
        ({"method_settings__x": {"kind": "peft", "config": {"r": 8}}}, r"x\.config: .*the key peft_type is missing"),
        ({"method_settings__lora__sweep": {"rank": []}}, r"lora\.sweep\.rank: "),
        ({"method_settings__lora__sweep": {"rank": [1, 0]}}, r"lora-rank0\.rank: "),
        ({"method_settings__lora__sweep": {"rnak": [1]}}, r"lora-rnak1\.rnak: unknown key; did you mean 'rank'"),
        (
            {"method_settings__lora__hyperparameters": {"start_from": "mlni"}},
            "start_from: unknown task 'mlni'; .*'mnli'",
        ),
        (
            {
                "method_settings__lora__task_hyperparameters": {
                    "cola": {"start_from": "rte"},
                    "rte": {"start_from": "cola"},
                }
            },
            "start_from: .* goes round in a circle",
        ),
        *(
            (
                {
                    "protocol": "hu-table9",
                    "tasks": ["mrpc", "cola"],
                    "methods": ["x"],
                    "method_settings__x": {"kind": "peft", "config": config},
                },
                r"1 error\(s\).*\n.*method_settings\.x: what it saves of mnli is not what it trained, and mrpc cannot",
            )
            for config in (
                {"peft_type": "LORA", "init_lora_weights": "pissa_niter_4"},
                {"peft_type": "P_TUNING", "num_virtual_tokens": 4},
                {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4, "prefix_projection": True},
            )
        ),
        (
            {"method_settings__lora__sweep": {"targets": [["output.dense"], ["output", "dense"]]}},
            "a sweep makes a method of the same name as another: lora-output.dense",
        ),
        ({"more_tables": ["sweep"]}, "more_tables: 'sweep' needs a method with a sweep"),
        ({"task_settings": {"cola": OWN}}, r"task_settings\.cola: GLUE has a task of that name"),
        ({"task_settings": {"mine": OWN | {"labels": ["one"]}}}, "one label is no choice"),
        ({"task_settings": {"mine": OWN | {"metrics": ["pearson"]}}}, "'pearson' is for regression"),
        ({"task_settings": {"mine": OWN | {"metrics": ["f1"]}}}, "'f1' is for two labels"),
        ({"task_settings": {"mine": {"path": "x"}}}, r"task_settings\.mine\.texts: this key is missing"),
        ({"task_settings": {"mine": OWN}, "tasks": ["mien"]}, "unknown value 'mien'; did you mean 'mine'"),
        (
            {"task_settings": {"mine": OWN}, "tasks": ["mine"], "protocol": "table7"},
            r"'table7' says nothing of batch_size, .*give it in method_settings\.fft\.task_hyperparameters\.mine",
        ),
    ],
)
def test_bad_values_are_refused_by_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        load(changed(**changes))


@pytest.mark.parametrize("given", ["results/", "./results", "results//"])
def test_a_results_folder_has_one_name(given):
    assert load(changed(results_dir=given)).results_dir == "results"


def test_a_model_folder_has_a_name_whatever_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "my model").mkdir()
    monkeypatch.chdir(tmp_path / "my model")
    assert load(changed(), {"model": {"source": "local", "path": "."}}).model.name == "my-model"


def test_dropout_may_be_left_to_the_model():
    study = load(changed(method_settings__lora__hyperparameters={"dropout": None}))
    assert study.hyperparameters("lora", "cola")["dropout"] is None


def test_a_hub_revision_must_be_a_full_commit():
    with pytest.raises(ConfigError, match=r"model\.revision"):
        load(changed(model={"source": "hub", "id": "a/b", "revision": "main"}))


def test_a_section_whose_source_an_overlay_names_starts_anew():
    overlay = {"model": {"source": "local", "path": "x"}}
    config = changed(model__source="local", model__path="x")  # as Snakemake merges them
    with pytest.raises(ConfigError):
        load(config)
    assert load(config, overlay).model.path == "x"


def test_overrides_stand_above_the_protocol_method_by_method_and_task_by_task():
    study = load(
        changed(
            method_settings__lora__hyperparameters={"epochs": 7, "dropout": 0.2},
            method_settings__lora__task_hyperparameters={"cola": {"epochs": 9}},
        )
    )
    assert study.hyperparameters("lora", "cola")["epochs"] == 9
    assert study.hyperparameters("lora", "rte") | {"learning_rate": 0} == study.hyperparameters("lora", "rte") | {
        "epochs": 7, "dropout": 0.2, "learning_rate": 0,
    }  # fmt: skip
    assert study.hyperparameters("fft", "cola") == load(DEFAULT).hyperparameters("fft", "cola")
    assert study.hyperparameter_source("lora", "rte", "epochs") == "this study's configuration"


def test_table7_holds_the_printed_values_and_names_the_source_of_every_other():
    study = load(changed(protocol="table7"))
    columns = {"FFT": "fft", "LoRA": "lora"}
    for row, values in TABLES["table7"].rows.items():
        method, name = row.split(": ")
        key = name.replace(" ", "_")
        if key in Hyperparameters.model_fields:
            for task, value in zip(PAPER_TASKS, values, strict=True):
                assert study.hyperparameters(columns[method], task)[key] == value
                assert "Table 7" in study.hyperparameter_source(columns[method], task, key)
    assert study.max_length("cola") == 512
    assert "for LoRA alone" in study.max_length_source
    assert "Liu" in study.hyperparameter_source("fft", "cola", "warmup_ratio")
    assert "Hu" in study.hyperparameter_source("lora", "cola", "warmup_ratio")


@pytest.mark.parametrize("name", sorted(p.stem for p in PROTOCOLS.glob("*.yaml")))
def test_a_protocol_gives_every_hyperparameter_a_value_and_a_source(name):
    protocol = Protocol(name)
    for column in ("full", "adapter"):
        for task in PAPER_TASKS:
            values = protocol.resolve(column, task)
            assert values.keys() >= {*Hyperparameters.model_fields, "max_length"}
            assert all(protocol.source(column, key) for key in values)
            Hyperparameters(**{name: values[name] for name in Hyperparameters.model_fields})


@pytest.mark.parametrize("overlay", sorted(p.name for p in (ROOT / "config").glob("*.yaml")))
def test_every_overlay_is_a_valid_study_with_a_results_folder_of_its_own(overlay):
    from snakemake.utils import update_config

    config, over = copy.deepcopy(DEFAULT), yaml.safe_load((ROOT / "config" / overlay).read_text())
    update_config(config, over)
    assert load(config, over).results_dir != load(DEFAULT).results_dir


def test_the_committed_schema_is_that_of_the_code():
    assert (ROOT / "config" / "schema.json").read_text() == json_schema(), "run: make schema"


def test_every_kind_has_a_file_of_its_own():
    for kind in KINDS:
        assert (ROOT / "lora_core" / "methods" / f"{kind}.py").is_file()


def test_a_sweep_is_a_method_of_each_combination_in_its_place():
    entry = {"kind": "lora", "alpha": 16, "sweep": {"rank": [1, 64], "targets": [["query"], ["query", "value"]]}}
    study = load(changed(method_settings__sweep=entry, methods=["fft", "sweep", "lora"]))
    names = ["sweep-rank1-query", "sweep-rank1-query.value", "sweep-rank64-query", "sweep-rank64-query.value"]
    assert study.methods == ("fft", *names, "lora")
    assert study.settings("sweep-rank64-query")["rank"] == 64
    assert study.settings("sweep-rank64-query")["alpha"] == 16
    assert study.method_settings["sweep-rank64-query"].swept.values == {"rank": 64, "targets": ["query"]}


def test_a_method_of_a_sweep_takes_no_other_entrys_name():
    sweep = {"kind": "lora", "sweep": {"rank": [4]}}
    with pytest.raises(ConfigError, match="a sweep makes a method of the same name as another: lora-rank4"):
        load(changed(method_settings__lora=sweep, **{"method_settings__lora-rank4": {"kind": "lora", "rank": 8}}))


def test_a_sweep_reaches_hyperparameters_and_what_a_library_is_told():
    rates = {"kind": "lora", "sweep": {"hyperparameters.learning_rate": [0.001, 0.01]}}
    ranks = {"kind": "peft", "config": {"peft_type": "LORA"}, "sweep": {"config.r": [2, 4]}}
    study = load(changed(method_settings__rates=rates, method_settings__ranks=ranks, methods=["rates", "ranks"]))
    assert [study.hyperparameters(m, "cola")["learning_rate"] for m in study.methods[:2]] == [0.001, 0.01]
    assert [study.settings(m)["config"] for m in study.methods[2:]] == [{"peft_type": "LORA", "r": r} for r in (2, 4)]
    assert study.methods == ("rates-learning_rate0.001", "rates-learning_rate0.01", "ranks-r2", "ranks-r4")


def test_a_pattern_that_is_swept_names_a_file():
    sweep = {"config.target_modules": [".*query", ".*(query|value)"]}
    entry = {"kind": "peft", "config": {"peft_type": "LORA"}, "sweep": sweep}
    study = load(changed(method_settings__where=entry, methods=["where"]))
    assert study.methods == ("where-target_modules._query", "where-target_modules._query_value_")
    assert study.settings(study.methods[1])["config"]["target_modules"] == ".*(query|value)"


def test_rank_and_alpha_come_from_the_protocol_unless_they_are_given():
    scripts = load(changed(protocol="ms-scripts", method_settings__lora_ref__alpha=4))
    assert [scripts.settings(m)["alpha"] for m in ("lora", "lora_ref")] == [16, 4]
    assert load(changed(protocol="hu-table9")).settings("lora")["alpha"] == 8
    assert "roberta_base" in scripts.setting_source("lora", "alpha")
    assert scripts.setting_source("lora_ref", "alpha") == "method_settings"


@pytest.mark.parametrize("protocol", ["hu-table9", "ms-scripts"])
def test_hu_et_al_start_three_tasks_from_mnli_for_the_adapter_and_the_full_model(protocol):
    study = load(changed(protocol=protocol))
    for method in study.methods:
        assert {t: study.starts(method, t) for t in study.tasks} == {
            "sst2": [], "cola": [], "mrpc": ["mnli"], "rte": ["mnli"], "stsb": ["mnli"]
        }  # fmt: skip
    assert study.trained_tasks == [*study.tasks, "mnli"]
    assert load(changed(protocol="table7")).trained_tasks == list(study.tasks)


def test_the_table_of_protocols_in_the_documentation_is_what_they_say():
    assert compare("table7", "hu-table9", "ms-scripts") in (ROOT / "docs" / "protocols.md").read_text()


def test_a_task_of_ones_own_is_a_row_as_glues_are():
    own = {"path": "x", "texts": ["title", "body"], "label": "stars"}
    study = load(changed(task_settings={"reviews": own}, tasks=["reviews"]))
    row = study.task("reviews")
    assert (row.columns, row.labels, row.metrics, row.label) == (
        ("title", "body"),
        (),
        ("pearson", "spearman"),
        "stars",
    )


def test_two_sweeps_keep_their_rows_apart():
    ranks = {"sweep": {"rank": [1, 8]}}
    study = load(changed(method_settings__a={"kind": "lora", **ranks}, method_settings__b={"kind": "loralib", **ranks},
                         methods=["a", "b"]))  # fmt: skip
    swept = {m: study.method_settings[m].swept.model_dump() for m in study.methods}
    assert list(sweep_labels(swept).values()) == ["a: rank 1", "a: rank 8", "b: rank 1", "b: rank 8"]


def test_pefts_lora_counts_as_the_same_only_where_it_says_all_that_own_lora_does():
    plain = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["value", "query"]}
    for config, same in ((plain, True), (plain | {"use_dora": True}, False), (plain | {"target_modules": None}, False),
                         (plain | {"r": 4}, False)):  # fmt: skip
        study = load(changed(method_settings__other={"kind": "peft", "config": config}, methods=["lora", "other"]))
        assert study.same_as_lora == (["lora", "other"] if same else ["lora"])
