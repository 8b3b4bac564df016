"""The configuration: unknown keys are errors, all errors are reported together, overlays merge as documented."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from builders import DEFAULT, ROOT, changed

from lora_core.config import params
from lora_core.config import study as config_study
from lora_core.config.errors import ConfigError
from lora_core.config.study import json_schema
from lora_core.evaluation.references import References
from lora_core.reporting.catalogue import OPTIONAL_TABLES


def load(config, overlay=None):
    return config_study.load(config, overlay, optional_tables=OPTIONAL_TABLES)


def test_every_error_is_reported_at_once_with_path_and_nearest_name():
    config = changed(
        methods=["fft", "lor"], tasks=["cola", "rtee"], seeds=[], trian={}, protocol="table8", model__source="wheeel",
        method_settings__lora__rank=-4, method_settings__lora__rnk=4, measure__meter="nvlm",
        method_settings__fft__hyperparameters={"epochs": "many"}, more_tables=["scalling"],
        references={"adapter": "lroa"},
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        load(config)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("12 error(s)")
    expected = {
        "methods: no entry 'lor' in method_settings; did you mean 'lora'?",
        "protocol: unknown protocol 'table8'; did you mean 'table7'?",
        "model.source: unknown 'wheeel'; did you mean 'wheel'?",
        "tasks.1: unknown value 'rtee'; did you mean 'rte'?",
        "method_settings.lora.rnk: unknown key; did you mean 'rank'?",
        "measure.meter: unknown value 'nvlm'; did you mean 'nvml'?",
        "trian: unknown key; did you mean 'train'?",
        "more_tables.0: unknown value 'scalling'; did you mean 'scaling'?",
        "references.adapter: no entry 'lroa' in method_settings; did you mean 'lora'?",
        "method_settings.lora.rank: input should be greater than 0 (given: -4)",
    }
    assert expected <= {line.removeprefix("  - ") for line in lines}
    assert any(line.startswith("  - seeds: ") for line in lines)
    assert any(line.startswith("  - method_settings.fft.hyperparameters.epochs: ") for line in lines)


@pytest.mark.parametrize("value", ["2e-5", "2.0e-5", 2e-5])
def test_a_learning_rate_that_yaml_reads_as_text_is_accepted(value):
    study = load(changed(method_settings__lora__hyperparameters={"learning_rate": value}))
    assert study.hyperparameters("lora", "cola").learning_rate == 2e-5


USER_TASK = {"path": "folder", "texts": ["text"], "labels": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [1, 1]}, "seeds: an entry is listed twice"),
        ({"seeds": ["one"]}, "seeds.0: "),
        ({"seeds": [-1]}, "seeds.0: "),
        ({"results_dir": "-rf"}, "results_dir: "),
        ({"results_dir": "a{b}"}, "results_dir: "),
        ({"model__revision": "main"}, r"model\.revision: unknown key; only source hub has it"),
        ({"train__precision": "fp8"}, "train.precision: unknown value 'fp8'"),
        (
            {"method_settings__fft__rank": 8},
            r"method_settings\.fft\.rank: unknown key; only kind lora or loralib has it",
        ),
        ({"method_settings__lora__task_hyperparameters": {"colla": {}}}, "unknown task 'colla'; did you mean 'cola'"),
        ({"method_settings__a/b": {"kind": "full"}}, "method_settings"),
        ({"method_settings__lora": 3}, "method_settings.lora"),
        ({"methods": "fft"}, "methods: "),
        ({"seeds": [1, 1.0]}, "seeds: an entry is listed twice"),
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
            "start_from: .* forms a circle",
        ),
        *(
            (
                {
                    "protocol": "hu-table9",
                    "tasks": ["mrpc", "cola"],
                    "methods": ["x"],
                    "method_settings__x": {"kind": "peft", "config": config},
                },
                r"1 error\(s\).*\n.*method_settings\.x: mrpc cannot start from mnli, because what this method saves",
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
        ({"train__optimiser": "sgd"}, r"did you mean 'method_settings\.\{method\}\.hyperparameters\.optimizer'\?"),
        ({"train__batch_size": 8}, r"its place is 'method_settings\.\{method\}\.hyperparameters\.batch_size'"),
        ({"method_settings__lora__epochs": 8}, r"its place is 'method_settings\.lora\.hyperparameters\.epochs'"),
        ({"method_settings__lora__hyperparameters": {"rank": 8}}, r"its place is 'method_settings\.lora\.rank'"),
        (
            {"method_settings__fft__hyperparameters": {"rank": 8}},
            r"hyperparameters\.rank: unknown key; only kind lora or",
        ),
        ({"resources__mem_mb": 8}, r"resources\.mem_mb: unknown key; its place is 'resources\.measured\.mem_mb'"),
        ({"max_length": 64}, r"max_length: unknown key; its place is 'data\.max_length'"),
        (
            {"method_settings__lora__task_hyperparameters": {"rte": {"rank": 8}}},
            r"place is 'method_settings\.lora\.rank'",
        ),
        ({"measure__threads": 2}, r"measure\.threads: unknown key; its place is 'train\.threads'"),
        ({"rank": 8}, r"rank: unknown key; its place is 'method_settings\.\{method\}\.rank'"),
        ({"seed": 1}, r"seed: unknown key; did you mean 'seeds'\?"),
        ({"seeds": 3}, r"seeds: a list is expected, such as \[1, 2, 3\] \(given: 3\)"),
        ({"tasks": "cola"}, r"tasks: a list is expected, such as \[cola\]"),
        ({"method_settings__lora__targets": "query"}, r"lora\.targets: a list is expected, such as \[query\]"),
        ({"model": "bert"}, r"model: keys and values are expected, as in config\.yaml \(given: 'bert'\)"),
        ({"train": "fast"}, r"train: keys and values are expected"),
        ({"method_settings__lora": 3}, r"method_settings\.lora: keys and values are expected"),
        ({"results_dir": 3}, r"results_dir: a text is expected; put it in quotes \(given: 3\)"),
        (
            {"task_settings": {"mine": USER_TASK | {"labels": [False, True]}}},
            r'labels\.0: a text is expected, and YAML reads the unquoted value no as false; write "no" in quotes',
        ),
        ({"tasks": [True]}, r'1 error\(s\).*\n.*tasks\.0: a text is expected, .* yes as true; write "yes"'),
        ({"methods": [False]}, r'1 error\(s\).*\n.*methods\.0: a text is expected, .* write "no"'),
        ({"protocol": False}, r'1 error\(s\).*\n.*protocol: a text is expected, .* write "no"'),
        ({"measure": {"simulated": True}}, r"measure\.simulated: a simulated driver is read with measure\.meter: nvml"),
        ({"measure": {"meter": "simulated_nvml"}}, r"measure\.meter: unknown value 'simulated_nvml'"),
        ({"more_tables": ["sweep"]}, "more_tables: 'sweep' needs a method with a sweep"),
        ({"more_tables": ["scaling", "scaling"]}, "more_tables: an entry is listed twice"),
        ({"references__adaptor": "lora"}, r"references\.adaptor: unknown key; did you mean 'adapter'"),
        ({"references__full": "fft2"}, r"references\.full: no entry 'fft2' in method_settings; did you mean 'fft'"),
        ({"train__batching": "sorted"}, r"train\.batching: unknown value 'sorted'; valid: random, length_grouped"),
        ({"method_settings__lora__kind": "lroa"}, r"method_settings\.lora\.kind: unknown 'lroa'; did you mean 'lora'"),
        ({"method_settings__fft__hyperparameters": {"optimizer": "sdg"}}, r"optimizer: .*did you mean 'sgd'"),
        ({"task_settings": {"cola": USER_TASK}}, r"task_settings\.cola: GLUE has a task of that name"),
        (
            {"task_settings": {"mine": USER_TASK | {"labels": ["one"]}}},
            r"mine\.labels: a classification needs two or more labels",
        ),
        (
            {"task_settings": {"mine": USER_TASK | {"metrics": ["pearson"]}}},
            r"mine\.metrics: 'pearson' is for a regression",
        ),
        ({"task_settings": {"mine": USER_TASK | {"metrics": ["f1"]}}}, "'f1' is for two labels"),
        ({"task_settings": {"mine": USER_TASK | {"path": "a{b}"}}}, r"task_settings\.mine\.path: braces are wildcards"),
        ({"data": {"source": "local", "path": "a{b}"}}, r"data\.path: braces are wildcards"),
        ({"task_settings": {"mine": {"path": "x"}}}, r"task_settings\.mine\.texts: this key is missing"),
        ({"task_settings": {"mine": USER_TASK}, "tasks": ["mien"]}, "unknown value 'mien'; did you mean 'mine'"),
        (
            {"task_settings": {"mine": USER_TASK}, "tasks": ["mine"], "protocol": "table7"},
            r"'table7' has no batch_size, .*set it in method_settings\.fft\.task_hyperparameters\.mine",
        ),
    ],
)
def test_bad_values_are_refused_by_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        load(changed(**changes))


@pytest.mark.parametrize("folder", ["results/", "./results", "results//"])
def test_a_results_folder_has_one_name(folder):
    assert load(changed(results_dir=folder)).results_dir == "results"


def test_a_model_folder_has_a_name_whatever_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "my model").mkdir()
    monkeypatch.chdir(tmp_path / "my model")
    study = load(changed(results_dir=str(tmp_path / "results")), {"model": {"source": "local", "path": "."}})
    assert study.model.name == "my-model"


def test_dropout_may_be_left_to_the_model():
    study = load(changed(method_settings__lora__hyperparameters={"dropout": None}))
    assert study.hyperparameters("lora", "cola").dropout is None


def test_a_hub_revision_must_be_a_full_commit():
    with pytest.raises(ConfigError, match=r"model\.revision"):
        load(changed(model={"source": "hub", "id": "a/b", "revision": "main"}))


def test_a_section_whose_source_an_overlay_names_inherits_nothing():
    overlay = {"model": {"source": "local", "path": "x"}}
    config = changed(model__source="local", model__path="x")  # as Snakemake merges them
    with pytest.raises(ConfigError):
        load(config)
    assert load(config, overlay).model.path == "x"


def test_hyperparameters_of_a_method_and_of_a_task_replace_the_protocols():
    study = load(
        changed(
            method_settings__lora__hyperparameters={"epochs": 7, "dropout": 0.2},
            method_settings__lora__task_hyperparameters={"cola": {"epochs": 9}},
        )
    )
    default = load(DEFAULT).hyperparameters("lora", "rte")
    assert study.hyperparameters("lora", "cola").epochs == 9
    assert study.hyperparameters("lora", "rte") == replace(default, epochs=7, dropout=0.2)
    assert study.hyperparameters("fft", "cola") == load(DEFAULT).hyperparameters("fft", "cola")
    assert study.hyperparameter_source("lora", "rte", "epochs") == "this study's configuration"


@pytest.mark.parametrize("overlay", sorted(p.name for p in (ROOT / "config").glob("*.yaml") if not p.is_symlink()))
def test_every_overlay_is_a_valid_study_with_a_results_folder_of_its_own(overlay):
    from snakemake.utils import update_config

    config, over = copy.deepcopy(DEFAULT), yaml.safe_load((ROOT / "config" / overlay).read_text())
    update_config(config, over)
    assert load(config, over).results_dir != load(DEFAULT).results_dir


def test_the_committed_schema_is_that_of_the_code():
    assert (ROOT / "config" / "schema.json").read_text() == json_schema(OPTIONAL_TABLES), "run: make schema"


def test_the_schema_lists_the_optional_tables_and_each_kinds_settings():
    schema = json.loads(json_schema(("scaling",)))
    assert schema["properties"]["more_tables"]["items"]["enum"] == ["scaling"]
    houlsby = schema["$defs"]["HoulsbyMethod"]["properties"]
    assert houlsby["bottleneck"]["default"] == 64
    assert schema["$defs"]["HyperparameterOverrides"]["properties"]["batch_size"]["exclusiveMinimum"] == 0


def test_a_users_task_is_described_as_glues_are():
    settings = {"path": "x", "texts": ["title", "body"], "label": "stars"}
    study = load(changed(task_settings={"reviews": settings}, tasks=["reviews"], data__max_train_examples=5))
    task = study.task("reviews")
    assert (task.columns, task.labels, task.label_column) == (("title", "body"), (), "stars")
    assert (task.metrics, task.is_undecided) == ((), True), "the data decides"
    source = study.source("reviews")
    assert (source.source, source.path, source.max_train_examples, source.seed) == ("user", "x", 5, None)
    assert study.source("mnli").source == "mini"


@pytest.mark.parametrize("value", ["off", False])
def test_graphs_are_off_however_yaml_reads_the_word(value):
    assert load(DEFAULT).train.cuda_graphs == "auto"
    study = load(changed(train__cuda_graphs=value))
    assert study.train.cuda_graphs == "off"
    assert params.run_params(study, "lora", "cola", 1)["cuda_graphs"] == "off"


@pytest.mark.parametrize("value", [True, "on", 0, None])
def test_graphs_are_automatic_or_off(value):
    with pytest.raises(ConfigError, match=r"train\.cuda_graphs: .*auto, off"):
        load(changed(train__cuda_graphs=value))


def test_batching_by_its_older_name_is_accepted():
    assert load(changed(train__batching="bucketed")).train.batching == "length_grouped"


def test_references_are_entries_that_the_study_has():
    assert load(DEFAULT).references == References("fft", "lora", "lora_ref")
    assert load(changed(methods=["fft", "lora"])).references == References("fft", "lora", None)
    assert load(changed(references={"full": None})).references == References()
    assert load({name: section for name, section in DEFAULT.items() if name != "references"}).references == References()


def test_no_name_of_an_entry_has_a_meaning():
    renamed = {"everything": {"kind": "full"}, "ours": {"kind": "lora"}, "theirs": {"kind": "loralib"}}
    study = load(
        DEFAULT
        | {"method_settings": renamed, "methods": list(renamed)}
        | {"references": {"full": "everything", "adapter": "ours", "library": "theirs"}}
    )
    usual = load(DEFAULT)
    assert study.methods_equal_to_lora == ["ours", "theirs"]
    for name, method in zip(renamed, DEFAULT["methods"], strict=True):
        assert study.settings(name) == usual.settings(method)
        assert study.hyperparameters(name, "cola") == usual.hyperparameters(method, "cola")


def test_pefts_lora_counts_as_the_same_only_with_the_same_settings():
    plain = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["value", "query"]}
    for config, same in ((plain, True), (plain | {"use_dora": True}, False), (plain | {"target_modules": None}, False),
                         (plain | {"r": 4}, False)):  # fmt: skip
        study = load(changed(method_settings__other={"kind": "peft", "config": config}, methods=["lora", "other"]))
        assert study.methods_equal_to_lora == (["lora", "other"] if same else ["lora"])


KIND = '''
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Gt
from lora_core.methods.settings import MethodSettings

@dataclass(frozen=True)
class Settings(MethodSettings):
    """Train a scale."""
    width: Annotated[int, Gt(0)] = 4
'''
PROGRAM = """
import json, yaml
from lora_core.config.study import json_schema, load
config = yaml.safe_load(open("config.yaml")) | {"methods": ["mine"], "references": {}}
config["method_settings"]["mine"] = {"kind": "scale", "width": "8", "hyperparameters": {"momentum": 0.5}}
study = load(config)
print(study.settings("mine").to_params(), study.hyperparameters("mine", "rte").momentum)
assert json.loads(json_schema([]))["$defs"]["ScaleMethod"]["properties"]["width"]["exclusiveMinimum"] == 0
config["method_settings"]["mine"] |= {"width": 0}
load(config)
"""


def test_a_new_kind_and_a_new_hyperparameter_are_known_to_the_configuration_without_a_change_to_it(tmp_path):
    shutil.copytree(ROOT / "lora_core", tmp_path / "lora_core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "lora_core" / "methods" / "scale.py").write_text(KIND)
    spec = tmp_path / "lora_core" / "training" / "spec.py"
    last = "    start_from: str | None = None\n"
    assert last in spec.read_text()
    spec.write_text(spec.read_text().replace(last, f"{last}    momentum: Fraction = 0.9\n"))
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "{'kind': 'scale', 'width': 8} 0.5\n", done.stderr
    assert "method_settings.mine.width: input should be greater than 0 (given: 0)" in done.stderr
