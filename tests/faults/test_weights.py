"""Weights that are damaged or do not fit are named when they are used, before anything is made from them."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from builders import FULL, LORA, run_inputs, run_outputs, spec
from safetensors.torch import load_file, save_file

from lora_core import load_adapter
from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
from lora_core.methods import registry
from lora_core.methods.merging import merge_adapter
from lora_core.models import model as models
from lora_core.models import pretrained
from lora_core.records import read_json, write_digests
from lora_core.training.run import train

FIRST_QUERY, LAST_QUERY = (f"bert.encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 1))
PLAN = LatencyPlan(
    passes=1, seconds=0.0, margin=0.03, batch_size=16, single_examples=1, seed=1, device="cpu", threads=1,
    reference=None,
)  # fmt: skip


def zeroed(path):
    tensors = load_file(path)
    save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, path, {"format": "pt"})


def bit_flipped(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def named_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def of_model(change):
    """A damage to the weights in a model's folder."""
    return lambda folder: change(folder / "model.safetensors")


def with_tensors(change, file="model.safetensors"):
    """A damage to a folder whose tensors `change` changes in a dict."""

    def damage(folder):
        tensors = load_file(folder / file)
        change(tensors)
        save_file(tensors, folder / file, {"format": "pt"})

    return damage


def with_json(file, **changes):
    """A damage to a folder: other values in one of its JSON files."""
    return lambda folder: (folder / file).write_text(json.dumps(read_json(folder / file) | changes))


def recorded(folder: Path, copy: Path) -> tuple[Path, Path]:
    """A copy of a model's folder, and the record of its files."""
    record = copy.with_suffix(".json")
    write_digests(shutil.copytree(folder, copy).iterdir(), record)
    return copy, record


def truncated(path):
    path.write_bytes(path.read_bytes()[:5000])


def an_adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


DAMAGES = {
    "zeroed": (of_model(zeroed), "model.safetensors is damaged"),
    "bit-flipped": (of_model(bit_flipped), "model.safetensors is damaged"),
    "truncated": (of_model(truncated), "model.safetensors is damaged"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
    "missing": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "a layer less": (with_json("config.json", num_hidden_layers=1), "config.json is damaged"),
    "another activation": (with_json("config.json", hidden_act="relu"), "config.json is damaged"),
    "another tokenizer": (with_json("tokenizer.json", truncation=None, version="2"), "tokenizer.json is damaged"),
    "a named pipe": (of_model(named_pipe), "model.safetensors is not a regular file"),
    "an adapter beside it": (an_adapter, "adapter_config.json does not belong to this model"),
}  # fmt: skip


@pytest.fixture
def use(bert, cola, lora_run, full_run, tmp_path):
    """Functions that use a prepared model, or a merged one, as jobs do; none of them may leave a result."""

    def in_training(model, record):
        inputs = run_inputs(model, cola)
        inputs = type(inputs)(**vars(inputs) | {"model_record": record})
        train(spec(LORA, base_model=model.name), inputs, run_outputs(tmp_path / "out"))

    def in_merging(model, record):
        merge_adapter(model, lora_run / "weights", lora_run / "run.json", tmp_path / "out", record)

    def in_timing(model, record, merged=(None, None), run=full_run):
        settings = registry.settings_from_params(FULL if run is full_run else LORA)
        methods = [TimedMethod("a", settings, run / "weights", *merged, run_record=run / "run.json")]
        inputs = TimingInputs(model, cola / "card.json", cola / "validation.safetensors", record)
        time_inference(methods, inputs, PLAN, TimingOutputs(tmp_path / "out" / "a.csv", tmp_path / "out" / "a.json"))

    return {"train": in_training, "merge": in_merging, "time": in_timing}


def refused(message, call, out):
    """The sentence in which a call is refused, which leaves nothing in `out`."""
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return str(caught.value)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("job", ["train", "merge", "time"])
def test_a_damaged_prepared_model_is_named_with_what_to_delete(damage, job, use, bert, tmp_path):
    model, record = recorded(bert, tmp_path / "bert")
    change, message = DAMAGES[damage]
    change(model)
    text = refused(message, lambda: use[job](model, record), tmp_path / "out")
    assert f"delete {model} and {record}, and run again" in text


def test_an_intact_model_is_used_and_a_page_for_people_does_not_count(use, bert, tmp_path):
    model, record = recorded(bert, tmp_path / "bert")
    (model / "README.md").write_text("notes")
    (model / ".DS_Store").write_text("")
    use["merge"](model, record)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_damaged_record_of_a_model_is_named(use, bert, tmp_path):
    model, record = recorded(bert, tmp_path / "bert")
    for content in ("", "[]", "{}", '{"files": {"config.json": "0"}}'):
        record.write_text(content)
        refused(
            rf"{record.name} is damaged .*; delete it and run again",
            lambda: use["merge"](model, record),
            tmp_path / "out",
        )


@pytest.mark.parametrize("damage", ["zeroed", "bit-flipped", "truncated", "a named pipe", "an adapter beside it"])
def test_a_damaged_merged_model_is_named_and_not_taken_for_a_wrong_merge(damage, use, bert, lora_run, tmp_path):
    merge_adapter(bert, lora_run / "weights", lora_run / "run.json", tmp_path / "made")
    merged, record = recorded(tmp_path / "made", tmp_path / "merged")
    change, message = DAMAGES[damage]
    change(merged)
    time = partial(use["time"], bert, None, (merged, record), lora_run)
    text = refused(message, time, tmp_path / "out")
    assert f"{merged}/" in text
    assert f"delete {merged} and {record}, and run again" in text


def test_damaged_weights_of_a_run_are_named_before_they_are_timed_or_started_from(use, bert, cola, full_run, tmp_path):
    run = shutil.copytree(full_run, tmp_path / "run")
    zeroed(run / "weights" / "model.safetensors")
    message = r"weights/model\.safetensors is damaged .*; delete the folder .*run and run again"
    refused(message, lambda: use["time"](bert, None, run=run), tmp_path / "out")
    start = partial(train, spec(FULL), run_inputs(bert, cola, start=run), run_outputs(tmp_path / "out"))
    refused(message, start, tmp_path / "out")
    (run / "weights" / "model.safetensors").unlink()
    refused(r"weights/model\.safetensors is missing", start, tmp_path / "out")


def moved(old, new):
    """A change to tensors: other names."""

    def change(tensors):
        for name in list(tensors):
            tensors[name.replace(old, new)] = tensors.pop(name)

    return with_tensors(change)


def replaced(change, name=LAST_QUERY):
    """A change to tensors: one of them is another."""
    return with_tensors(lambda tensors: tensors.update({name: change(tensors[name])}))


def with_value(value, dtype=torch.float32):
    def change(tensor):
        tensor = tensor.to(dtype)
        tensor[3, 4] = value
        return tensor

    return replaced(change)


def in_shards(name):
    """A folder whose list of shards names this file."""

    def change(folder):
        (folder / "model.safetensors").rename(folder / "weights.bin")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))

    return change


def lying_header(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes((2**40).to_bytes(8, "little") + content[8:])


def a_folder_instead(name):
    def change(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


UNFIT = {
    "renamed tensors": (moved("self.query", "self.q"), r"'bert\.encoder\.layer\.0\.attention\.self\.query\.bias' .* is missing"),
    "renamed pooler": (moved("pooler.dense", "pooler.linear"), r"has no 'bert\.pooler\.linear\.bias'"),
    "another prefix": (moved("bert.", "base_model.model.bert."), r"'bert\..* is missing"),
    "a layer less": (with_tensors(lambda t: [t.pop(n) for n in list(t) if "layer.1." in n]), r"'bert\.encoder\.layer\.1\..* is missing"),
    "a layer more in the file": (with_json("config.json", num_hidden_layers=1), r"has no 'bert\.encoder\.layer\.1\..*number of layers"),
    "a layer more in the configuration": (with_json("config.json", num_hidden_layers=3), r"'bert\.encoder\.layer\.2\..* is missing"),
    "another width": (with_json("config.json", hidden_size=64), "is missing or has another shape"),
    "another vocabulary": (with_json("config.json", vocab_size=290), r"word_embeddings\.weight' .* another shape"),
    "fewer embeddings": (replaced(lambda t: t[:200].clone(), "bert.embeddings.word_embeddings.weight"), r"word_embeddings\.weight' .* another shape"),
    "an unmerged adapter's tensors": (with_tensors(lambda t: t.update({FIRST_QUERY.replace("weight", "lora_A.weight"): torch.ones(4, 32)})), r"has no '.*lora_A\.weight'"),
    "nan": (with_value(float("nan")), rf"'{LAST_QUERY}' holds a value that is not finite"),
    "infinity": (with_value(float("-inf")), "not finite"),
    "nan in float16": (with_value(float("nan"), torch.float16), "not finite"),
    "infinity in bfloat16": (with_value(float("inf"), torch.bfloat16), "not finite"),
    "beyond float32": (with_value(1e300, torch.float64), "not finite"),
    "int8": (replaced(lambda t: (t * 100).to(torch.int8)), rf"'{LAST_QUERY}' is quantized \(I8\)"),
    "float8": (replaced(lambda t: t.to(torch.float8_e4m3fn)), r"is quantized \(F8_E4M3\)"),
    "packed integers": (replaced(lambda t: t.to(torch.int32)), r"is quantized \(I32\)"),
    "quantized by its configuration": (with_json("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "is quantized"),
    "truncated": (of_model(truncated), r"model\.safetensors cannot be read .*incomplete"),
    "a header that lies": (lying_header, r"model\.safetensors cannot be read .*header"),
    "a pickle by another name": (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04."), "cannot be read"),
    "an unknown architecture": (with_json("config.json", model_type="nosuch"), "transformers cannot read the model .*nosuch"),
    "an impossible configuration": (with_json("config.json", num_attention_heads=5), "transformers cannot read the model .*multiple"),
    "an unknown activation": (with_json("config.json", hidden_act="nosuch"), "transformers cannot read the model .*KeyError 'nosuch'"),
    "padding outside of the vocabulary": (with_json("config.json", pad_token_id=900), "transformers cannot read the model .*adding"),
    "a decoder's configuration": (with_json("config.json", model_type="gpt2"), "is missing or has another shape"),
    "an adapter": (an_adapter, "merge the adapter into its base model first"),
    "shards of another folder": (in_shards("../x.safetensors"), r"names '\.\./x\.safetensors', which is not in this folder"),
    "a pickle among the shards": (in_shards("weights.bin"), r"names 'weights\.bin'; only safetensors weights are read"),
    "no name of a shard": (in_shards(5), "weight_map does not name the file of each tensor"),
    "weights in a named pipe": (of_model(named_pipe), r"model\.safetensors' is not a regular file"),
    "a named pipe beside them": (lambda folder: named_pipe(folder / "special_tokens_map.json"), "is not a regular file"),
    "a link to a named pipe": (lambda folder: (named_pipe(folder.parent / "pipe"), (folder / "added_tokens.json").symlink_to("../pipe")), "is not a regular file"),
    "a folder for a configuration": (a_folder_instead("config.json"), r"has no config\.json"),
    "a link that leads nowhere": (lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").symlink_to("nowhere")), r"has no config\.json"),
}  # fmt: skip


@pytest.mark.parametrize("problem", UNFIT)
def test_a_model_that_is_not_what_its_configuration_says_is_refused(problem, bert, tmp_path):
    source = shutil.copytree(bert, tmp_path / "source")
    change, message = UNFIT[problem]
    change(source)
    prepare = partial(pretrained.prepare_model, {"source": "local", "path": str(source)}, tmp_path / "out")
    refused(message, prepare, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def old_names(tensors):
    for name in [name for name in tensors if "LayerNorm" in name]:
        tensors[name.replace("weight", "gamma").replace("bias", "beta")] = tensors.pop(name)


FIT = {
    "names of old checkpoints": with_tensors(old_names),
    "no prefix": moved("bert.", ""),
    "stored positions": with_tensors(lambda t: t.update({
        "bert.embeddings.position_ids": torch.arange(130)[None], "bert.embeddings.token_type_ids": torch.zeros(1, 130),
    })),
    "the heads of pre-training": with_tensors(lambda t: t.update({
        "cls.predictions.transform.dense.weight": torch.ones(32, 32), "cls.seq_relationship.bias": torch.zeros(2),
    })),
    "float64": with_tensors(lambda t: t.update({name: tensor.double() for name, tensor in t.items()})),
    "pickles beside them": lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04."),
    "a link to the weights": lambda folder: (
        (folder / "model.safetensors").rename(folder.parent / "blob"), (folder / "model.safetensors").symlink_to("../blob")
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FIT)
def test_other_forms_of_the_same_weights_are_the_same_model(form, bert, tmp_path):
    source = shutil.copytree(bert, tmp_path / "source")
    FIT[form](source)
    pretrained.prepare_model({"source": "local", "path": str(source)}, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (bert / "model.safetensors").read_bytes()
    assert {file.name for file in (tmp_path / "out").iterdir()} == {file.name for file in bert.iterdir()}


@pytest.mark.parametrize(
    "problem", ["renamed tensors", "a layer more in the file", "a layer more in the configuration"]
)
def test_a_model_that_does_not_fit_is_not_loaded_either(problem, bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "model")
    change, message = UNFIT[problem]
    change(folder)
    refused(message, lambda: models.load(folder, ["a", "b"]), tmp_path / "out")


def test_weights_that_are_not_finite_are_not_started_from_and_no_learning_rate_is_blamed(bert, full_run, tmp_path):
    weights = shutil.copytree(full_run / "weights", tmp_path / "weights")
    with_value(float("nan"))(weights)
    load = partial(registry.load, models.load(bert, ["a", "b"]), registry.settings_from_params(FULL), weights)
    text = refused(rf"model\.safetensors: '{LAST_QUERY}' holds a value that is not finite", load, tmp_path / "out")
    assert "learning rate" not in text


def emptied(tensors):
    tensors.clear()


def without(part):
    def change(tensors):
        for name in [name for name in tensors if part in name]:
            del tensors[name]

    return change


def of_adapter(change):
    return with_tensors(change, "adapter_model.safetensors")


def every(change):
    return lambda tensors: tensors.update({name: change(tensor) for name, tensor in tensors.items()})


ADAPTERS = {
    "no tensors": (of_adapter(emptied), r"adapter_model\.safetensors holds no tensors"),
    "a layer less": (of_adapter(without("layer.1.")), r"lacks 'bert\.encoder\.layer\.1\..*', which adapter_config\.json names"),
    "a target less": (of_adapter(without("value")), r"lacks 'bert\.encoder\.layer\.0\.attention\.self\.value'"),
    "one module less": (of_adapter(without("1.attention.self.value")), r"lacks 'bert\.encoder\.layer\.1\.attention\.self\.value'"),
    "no head": (of_adapter(without("classifier")), "lacks 'classifier'"),
    "half a pair": (of_adapter(without("0.attention.self.query.lora_B")), "does not fit"),
    "nan": (of_adapter(every(lambda t: t * float("nan"))), "holds a value that is not finite"),
    "int8": (of_adapter(every(lambda t: t.to(torch.int8))), r"is quantized \(I8\)"),
    "float8": (of_adapter(every(lambda t: t.to(torch.float8_e5m2))), r"is quantized \(F8_E5M2\)"),
    "a named pipe": (lambda folder: named_pipe(folder / "adapter_model.safetensors"), "is not a regular file"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("problem", ADAPTERS)
def test_an_adapter_that_lacks_something_is_neither_merged_nor_loaded(problem, bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    change, message = ADAPTERS[problem]
    change(adapter)
    refused(message, lambda: merge_adapter(bert, adapter, None, tmp_path / "out"), tmp_path / "out")
    model = models.load(bert, ["a", "b"])
    before = repr(model)
    refused(rf"{message}|is not a regular file", lambda: load_adapter(model, adapter), tmp_path / "out")
    assert repr(model) == before


@pytest.mark.parametrize("kind", ["BITFIT", "IA3"])
def test_an_adapter_of_another_kind_without_tensors_is_refused_too(kind, bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    of_adapter(emptied)(adapter)
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": kind}))
    refused("holds no tensors", lambda: merge_adapter(bert, adapter, None, tmp_path / "out"), tmp_path / "out")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_adapter_in_another_precision_merges_to_float32(dtype, bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    of_adapter(every(lambda tensor: tensor.to(dtype)))(adapter)
    merge_adapter(bert, adapter, None, tmp_path / "out")
    merge_adapter(bert, lora_run / "weights", None, tmp_path / "exact")
    merged, exact = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "exact"))
    for name, tensor in exact.items():
        assert merged[name].dtype == torch.float32
        torch.testing.assert_close(merged[name], tensor, rtol=0.01, atol=1e-4)


def test_an_adapter_on_some_layers_merges_if_its_configuration_says_so(bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    of_adapter(without("layer.1."))(adapter)
    with_json("adapter_config.json", layers_to_transform=[0])(adapter)
    merge_adapter(bert, adapter, None, tmp_path / "out")
    assert all("layer.0." in name for name in read_json(tmp_path / "out" / "merge.json")["changed"])


@pytest.mark.faults
@pytest.mark.parametrize(
    "target",
    [
        "counts.json",
        "data/cola/card.json",
        "runs/lora/cola/seed1/run.json",
        "merged/lora/cola/seed1",
        "latency/cola/seed1.json",
    ],
)
def test_every_job_names_a_damaged_model_and_once_it_is_deleted_the_study_finishes(project, finished, finish, target):
    project.take(finished)
    (model,) = (folder for folder in (project.results / "models").iterdir() if folder.is_dir())
    bit_flipped(model / "model.safetensors")
    target = f"results/{target}"
    status, output = project.run(target, "--forcerun", target)
    assert status != 0
    folder = f"results/models/{model.name}"
    assert f"{folder}/model.safetensors is damaged (not what {model.name}.json says); delete {folder} and" in output
    shutil.rmtree(model)
    model.with_suffix(".json").unlink()
    finish(target)
