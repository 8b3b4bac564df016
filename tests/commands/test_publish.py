"""`lora-core publish` against a stand-in hub on loopback: what leaves, what does not, and one sentence per failure."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from builders import FULL, LORA, ROOT, changed, run_inputs, run_outputs, spec
from hub_server import TOKEN, hub_server
from huggingface_hub import ModelCard, constants, hf_api

from lora_core.commands import cli
from lora_core.commands.private_paths import check_no_private_paths
from lora_core.data.tasks import TASKS
from lora_core.methods.merging import merge_adapter
from lora_core.models.base_model import BaseModel, write_published
from lora_core.records import read_json, read_run_record, write_digests, write_json
from lora_core.sealed import seal
from lora_core.training.run import train

HUB_BASE = "someone/tiny-bert"
REVISION = "0" * 40
NAME = "me/tiny-lora"


@pytest.fixture(scope="module")
def made(bert, cola, tmp_path_factory):
    """Results of studies in their own working folder: own LoRA of a folder and of models of the hub, and a full run."""
    folder = tmp_path_factory.mktemp("publish")
    equal = shutil.copytree(bert, tmp_path_factory.mktemp("models") / "equal")
    write_published(equal, BaseModel(HUB_BASE, REVISION))
    for results, settings, base, model in (
        ("results", LORA, str(bert.resolve()), bert),
        ("results", FULL, str(bert.resolve()), bert),
        ("hub", LORA, HUB_BASE, equal),
        ("changed", LORA, HUB_BASE, bert),  # of a model of the hub, but not equal to it
    ):
        out = folder / results / "runs" / settings["kind"] / "cola" / "seed1"
        train(spec(settings, base_model=base), run_inputs(model, cola), run_outputs(out))
    merged = folder / "results" / "merged" / "lora" / "cola" / "seed1"
    run = folder / "results" / "runs" / "lora" / "cola" / "seed1"
    merge_adapter(bert, run / "weights", run / "run.json", merged)
    digests = {n: d for n, d in read_run_record(run / "run.json")["files"].items() if n.startswith("weights/")}
    write_digests(merged.iterdir(), merged.with_name("seed1.json"), digests)
    return folder


@pytest.fixture
def study(made, bert, tmp_path, monkeypatch):
    """A copy of the results in the working folder; gives a function that writes the study's configuration."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    base = tmp_path / "base" / "bert"
    shutil.copytree(bert, base)
    monkeypatch.chdir(tmp_path)
    settings = {"full": {"kind": "full"}, "lora": {"kind": "lora", "rank": 4, "alpha": 8, "label": "Mine"}}
    plain = {
        "methods": list(settings), "method_settings": settings, "references": {"full": "full", "adapter": "lora"},
        "tasks": ["cola"], "seeds": [1], "model": {"source": "local", "path": "base/bert"},
    }  # fmt: skip

    def configure(**changes):
        Path("config.yaml").write_text(yaml.safe_dump(changed(**(plain | changes))))
        return tmp_path

    configure()
    return configure


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in hub, a token for it, and an empty cache."""
    with hub_server() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(hf_api.api, "endpoint", hub.address)  # of huggingface_hub.file_exists, which PEFT calls
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


RUN = "results/runs/lora/cola/seed1"


def publish(*arguments, run=RUN, name=NAME):
    return cli.main(["publish", run, "--repo", name, *arguments])


def sentence(capsys, *arguments, **where):
    """The one sentence with which the command fails."""
    assert publish(*arguments, **where) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error.strip()


def test_without_yes_everything_is_listed_and_nothing_leaves(study, hub, capsys):
    assert publish() == 0
    output = capsys.readouterr().out
    assert f"Mine on CoLA, seed 1: to {hub.address}/{NAME}" in output
    for expected in (
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "matthews_correlation",
        "dry run",
    ):
        assert expected in output
    assert hub.requests == []


def test_with_yes_the_weights_and_the_card_are_uploaded_and_nothing_else(study, hub, capsys):
    assert publish("--yes", "--private") == 0
    assert capsys.readouterr().out.endswith(f"Uploaded to {hub.address}/{NAME}\n")
    files = hub.repositories[NAME]
    assert sorted(files) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert files["adapter_model.safetensors"] == Path(RUN, "weights", "adapter_model.safetensors").read_bytes()
    assert (hub.private, hub.commits) == ({NAME}, ["Mine on CoLA, seed 1"])


def test_the_command_finds_the_hub_and_the_token_in_the_environment(study, hub):
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN,
    }  # fmt: skip
    command = [sys.executable, "-m", "lora_core.commands.cli", "publish", RUN, "--repo", NAME, "--yes"]
    done = subprocess.run(command, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"Uploaded to {hub.address}/{NAME}" in done.stdout
    assert "adapter_model.safetensors" in hub.repositories[NAME]


def test_no_path_of_this_machine_leaves_and_the_user_is_told_who_can_open_the_adapter(study, hub, bert, capsys):
    weights = Path(RUN, "weights", "adapter_config.json")
    assert json.loads(weights.read_text())["base_model_name_or_path"] == str(bert.resolve())
    assert publish("--yes") == 0
    assert (
        "only those who have its folder can use the adapter. Publish the merged model (--merged)"
        in capsys.readouterr().out
    )
    files = hub.repositories[NAME]
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] is None
    for name, content in files.items():
        for path in (bert.resolve(), Path.cwd(), Path.home()):
            assert f"{path}/".encode() not in content, name
            assert f'"{path}"'.encode() not in content, name
    assert "only those who have its folder" in files["README.md"].decode()
    assert json.loads(weights.read_text())["base_model_name_or_path"] == str(bert.resolve())  # the run's own stays


def test_a_base_model_of_the_hub_is_named_with_its_license(study, hub, capsys):
    hub.repositories[HUB_BASE] = {"README.md": b"---\nlicense: cc-by-4.0\n---\n# Tiny\n"}
    model = {"source": "hub", "id": HUB_BASE, "revision": REVISION}
    study(results_dir="hub", model=model, model_card={"license": "mit"})
    run = Path("hub/runs/lora/cola/seed1")
    rename_model(run, "someone--tiny-bert")
    assert publish("--yes", run=str(run)) == 0
    assert "only those who have its folder" not in capsys.readouterr().out
    files = hub.repositories[NAME]
    data = ModelCard(files["README.md"].decode()).data
    assert (data.license, data.base_model, data.base_model_relation) == ("cc-by-4.0", HUB_BASE, "adapter")
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == HUB_BASE
    assert json.loads(files["adapter_config.json"])["revision"] == REVISION


def test_an_adapter_of_a_model_that_differs_from_the_one_on_the_hub_does_not_name_that(study, hub, capsys):
    study(results_dir="changed", model={"source": "hub", "id": HUB_BASE, "revision": REVISION})
    run = Path("changed/runs/lora/cola/seed1")
    rename_model(run, "someone--tiny-bert")
    assert publish("--yes", run=str(run)) == 0
    output = capsys.readouterr().out
    assert f"prepared from {HUB_BASE}, but its weights are not those of the hub" in output
    assert "--base" not in output
    files = hub.repositories[NAME]
    config = json.loads(files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config.get("revision")) == (None, None)
    assert ModelCard(files["README.md"].decode()).data.base_model == HUB_BASE


def rename_model(run, name):
    """Let the record of a run say that its base model was prepared under another name."""
    record = read_json(run / "run.json")
    record.pop("content_sha256")
    record["run"]["model"] = name
    write_json(run / "run.json", seal(record))


@pytest.mark.parametrize(("results", "base"), [("results", HUB_BASE), ("hub", HUB_BASE), ("hub", "a/mirror")])
def test_the_user_can_say_what_the_hub_calls_the_base_model(study, hub, results, base):
    if results == "hub":
        study(results_dir="hub", model={"source": "hub", "id": HUB_BASE, "revision": REVISION})
        rename_model(Path("hub/runs/lora/cola/seed1"), "someone--tiny-bert")
    assert publish("--yes", "--base", base, run=f"{results}/runs/lora/cola/seed1") == 0
    files = hub.repositories[NAME]
    config = json.loads(files["adapter_config.json"])
    # A revision is one of the repository that it was recorded with.
    expected = REVISION if (results, base) == ("hub", HUB_BASE) else None
    assert (config["base_model_name_or_path"], config.get("revision")) == (base, expected)
    assert ModelCard(files["README.md"].decode()).data.base_model == base


@pytest.mark.parametrize(
    ("card", "configured", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n", "mit", ("apache-2.0", None)),
        ("---\nlicense: other\nlicense_name: mine\n---\n", "mit", ("other", "mine")),
        ("# A card without metadata", "mit", ("mit", None)),
        ("---\nlicense: [\n---\n", "mit", ("mit", None)),
        (None, "mit", ("mit", None)),
        (None, None, (None, None)),
    ],
)
def test_the_license_is_the_bases_where_its_card_names_one_else_the_configured(
    study, hub, capsys, card, configured, expected
):
    folder = study(model_card={"license": configured})
    if card is not None:
        (folder / "base" / "bert" / "README.md").write_text(card)
    assert publish("--yes") == 0
    data = ModelCard(hub.repositories[NAME]["README.md"].decode()).data
    assert (data.license, data.license_name) == expected
    assert ("names no license" in capsys.readouterr().out) is (expected[0] is None)


@pytest.mark.parametrize(("run", "merged"), [(RUN, True), ("results/runs/full/cola/seed1", False)])
def test_a_whole_model_is_uploaded_as_transformers_loads_it(study, hub, tmp_path, run, merged):
    from transformers import AutoModelForSequenceClassification

    assert publish("--yes", *(["--merged"] if merged else []), run=run) == 0
    files = hub.repositories[NAME]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert ModelCard(files["README.md"].decode()).data.library_name == "transformers"
    opened = tmp_path / "opened"
    opened.mkdir()
    for name, content in files.items():
        (opened / name).write_bytes(content)
    _, report = AutoModelForSequenceClassification.from_pretrained(opened, output_loading_info=True)
    assert not report["missing_keys"]


@pytest.mark.parametrize("kind", ["adapter of the hub", "adapter of a folder", "merged", "full"])
def test_the_call_in_the_card_opens_the_repository_with_the_recorded_scores(study, hub, bert, cola, kind):
    """The call downloads from the hub; only a base model in a folder is put in by its user."""
    from builders import validation_score

    run = {"adapter of the hub": "hub/runs/lora/cola/seed1", "full": "results/runs/full/cola/seed1"}.get(kind, RUN)
    if kind == "adapter of the hub":
        study(results_dir="hub", model={"source": "hub", "id": HUB_BASE, "revision": REVISION})
        rename_model(Path(run), "someone--tiny-bert")
        hub.repositories[HUB_BASE] = {file.name: file.read_bytes() for file in bert.iterdir()}
    assert publish("--yes", *(["--merged"] if kind == "merged" else []), run=run) == 0
    card = hub.repositories[NAME]["README.md"].decode()
    call = card.partition("```python\n")[2].partition("```")[0]
    names = {}
    exec(call.replace("FOLDER_OF_THE_BASE_MODEL", str(bert)), names)
    if "model" in names:
        model, tokenizer = names["model"], names["tokenizer"]
        assert set(tokenizer("A dog.")) >= {"input_ids"}
    else:
        model = names["classify"].model
    score, _ = validation_score(model, cola)
    assert score == pytest.approx(read_run_record(Path(run, "run.json"))["measurement"]["score"]["last"])
    assert model.config.id2label == dict(enumerate(TASKS["cola"].labels))


def test_the_card_names_the_owner_whom_the_token_stands_for(study, hub, capsys):
    assert publish("--yes", "--merged", name="tiny-lora") == 0
    assert f"Uploaded to {hub.address}/{NAME}" in capsys.readouterr().out
    card = hub.repositories[NAME]["README.md"].decode()
    assert f"    model='{NAME}'," in card
    assert "OWNER" not in card


def test_an_existing_repository_is_left_alone_until_the_user_says_update(study, hub, capsys):
    hub.repositories[NAME] = {"config.json": b"{}", "README.md": b"old"}
    assert "me/tiny-lora exists on" in sentence(capsys, "--yes")
    assert hub.repositories[NAME]["README.md"] == b"old"
    assert publish("--yes", "--update") == 0
    assert "config.json" not in hub.repositories[NAME]  # next to an adapter it would be taken for a whole model
    assert b"Mine on CoLA" in hub.repositories[NAME]["README.md"]


def test_without_a_token_the_user_learns_how_to_get_one(study, hub, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token for" in sentence(capsys, "--yes")
    assert hub.requests == []


def test_a_wrong_token_is_refused(study, hub, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    error = sentence(capsys, "--yes")
    assert "does not accept the token" in error
    assert "hf_wrong" not in error


@pytest.mark.parametrize(
    ("part", "status", "expected"),
    [
        ("/repos/create", 403, "the token may not write to me/tiny-lora"),
        ("/repos/create", 500, "answered with status 500"),
        ("/commit/", 403, "the token may not write to me/tiny-lora"),
        ("/commit/", 401, "does not accept the token"),
        ("/objects/", 403, "the token may not write to me/tiny-lora"),
        ("/validate-yaml", 400, "answered with status 400"),
    ],
)
def test_a_refusal_is_one_sentence_that_says_whether_the_repository_was_created(
    study, hub, capsys, part, status, expected
):
    hub.refused[part] = status
    error = sentence(capsys, "--yes")
    assert expected in error
    assert ("me/tiny-lora was created, so repeat the command with --update" in error) is (NAME in hub.repositories)
    hub.refused.clear()
    assert publish("--yes", *(["--update"] if NAME in hub.repositories else [])) == 0
    assert "adapter_model.safetensors" in hub.repositories[NAME]


def test_a_storage_that_refuses_large_files_is_one_sentence(study, hub, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)  # the hub's own protocol, which the stand-in lacks
    error = sentence(capsys, "--yes")
    assert f"the upload to {hub.address} failed" in error
    assert "me/tiny-lora was created" in error


def test_a_hub_that_does_not_answer_is_named(study, hub, capsys, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    assert f"{address} cannot be reached" in sentence(capsys, "--yes")


def test_offline_mode_is_named(study, hub, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in sentence(capsys, "--yes")


MERGED = "results/merged/lora/cola/seed1"


@pytest.mark.parametrize(
    ("file", "arguments", "expected"),
    [
        (f"{RUN}/weights/adapter_model.safetensors", (), "is damaged (not what run.json says)"),
        (f"{RUN}/weights/adapter_config.json", (), "is damaged (not what run.json says)"),
        (f"{RUN}/history.csv", (), "is damaged (not what run.json says)"),
        (f"{RUN}/run.json", (), "was edited after it was written"),
        (f"{MERGED}/model.safetensors", ("--merged",), "is damaged (not what seed1.json says)"),
    ],
)
@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_damaged_files_are_never_uploaded(study, hub, capsys, file, arguments, expected, yes):
    content = Path(file).read_bytes()
    Path(file).write_bytes(content[:-40] + content[-40:].replace(b"0", b"1").replace(b"\n", b" ")[:-1] + b"\n")
    if file.endswith("run.json"):
        Path(file).write_bytes(content.replace(b'"seed": 1', b'"seed": 2', 1))
    assert expected in sentence(capsys, *arguments, *yes)
    assert hub.uploads() == []


@pytest.mark.parametrize(
    ("where", "arguments", "expected"),
    [
        ({"run": "results"}, (), "results is not the folder of a run; name one such as results/runs/METHOD/TASK/seed1"),
        ({"run": "results/runs/lora/cola/seed7"}, (), "has no run.json; name the folder of a finished run"),
        (
            {"run": "hub/runs/lora/cola/seed1"},
            (),
            "does not belong to this configuration, whose results are in results",
        ),
        ({"name": "a/b/c"}, (), "--repo: 'a/b/c' is not a name on the hub"),
        ({"name": "../x"}, (), "--repo: '../x' is not a name on the hub"),
        ({}, ("--base", "/some/folder"), "--base: '/some/folder' is not a name on the hub"),
        ({"run": "results/runs/full/cola/seed1"}, ("--merged",), "the method full has no merged model"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_leaves(study, hub, capsys, where, arguments, expected):
    assert expected in sentence(capsys, "--yes", *arguments, **where)
    assert hub.uploads() == []


def test_a_merged_model_of_other_weights_is_refused(study, hub, capsys):
    record = Path(f"{MERGED}.json")
    content = read_json(record)
    content.pop("content_sha256")
    content["made_from"]["weights/adapter_model.safetensors"] = "0" * 64
    write_json(record, seal(content))
    assert "was merged from other weights than the run has now" in sentence(capsys, "--merged", "--yes")
    shutil.rmtree(MERGED)
    assert "there is no merged model in" in sentence(capsys, "--merged", "--yes")


def test_another_base_model_in_the_configuration_is_refused(study, hub, capsys):
    study(model={"source": "random", "config": {"model_type": "bert"}})
    assert "was trained from bert, but this configuration's model is random-bert" in sentence(capsys)


@pytest.mark.parametrize("place", ["home", "working", "results"])
def test_a_path_in_the_card_stops_the_upload(study, hub, capsys, place):
    path = {"home": Path.home(), "working": Path.cwd(), "results": Path("results").resolve()}[place]
    Path("base/bert/README.md").write_text(f"---\nlicense: other\nlicense_name: {path}/LICENSE\n---\n")
    error = sentence(capsys, "--yes")
    assert "nothing is uploaded, because README.md names " in error
    assert "a path of this machine" in error
    assert hub.uploads() == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"vocab": {"/usr/bin": 1, "/": 2}, "unk_token": "/"}, None),
        ({"name": "org/model", "text": "/no/such/path"}, None),
        ({"_name_or_path": "/usr/bin"}, "/usr/bin"),
        ({"deep": [{"file": "/etc/hostname"}]}, "/etc/hostname"),
    ],
)
def test_a_json_value_that_is_a_path_of_this_machine_is_found(tmp_path, content, found):
    (tmp_path / "config.json").write_text(json.dumps(content))
    sentence = pytest.raises(ValueError, match=f"config.json names {found}, a path of this machine")
    with sentence if found else nullcontext():
        check_no_private_paths(tmp_path, tmp_path)
