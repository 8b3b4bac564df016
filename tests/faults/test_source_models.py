"""A model that comes from elsewhere: what does not fit or cannot be trusted is refused by name when it is prepared."""

import json
import shutil
from functools import partial

import pytest
import torch
from builders import BERT, encoder
from damages import (
    FIRST_QUERY,
    LAST_QUERY,
    MODEL,
    an_adapter,
    content,
    every,
    fields,
    link,
    one,
    one_value,
    pipe,
    refused,
    renamed,
    tensors,
    truncated,
    without,
)  # fmt: skip

from lora_core.models import model as models
from lora_core.models import pretrained

EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
UNREADABLE = "transformers cannot read the model "
UNMERGED = {FIRST_QUERY.replace("weight", "lora_A.weight"): torch.ones(4, 32)}


def shards(name):
    """A list of shards that names this file."""

    def damage(folder):
        (folder / MODEL).rename(folder / "weights.bin")
        (folder / f"{MODEL}.index.json").write_text(json.dumps({"weight_map": {"a": name}}))

    return damage


def link_to_a_pipe(folder):
    pipe("pipe")(folder.parent)
    link("added_tokens.json", "../pipe")(folder)


def folder_instead(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()


UNFIT = {
    "renamed tensors": (renamed("self.query", "self.q"), r"layer\.0\.attention\.self\.query\.bias' .* is missing"),
    "renamed pooler": (renamed("pooler.dense", "pooler.linear"), r"has no 'bert\.pooler\.linear\.bias'"),
    "another prefix": (renamed("bert.", "base_model.model.bert."), r"'bert\..* is missing"),
    "a layer less": (without("layer.1."), r"'bert\.encoder\.layer\.1\..* is missing"),
    "a layer more": (fields(num_hidden_layers=1), r"has no 'bert\.encoder\.layer\.1\..*number of layers"),
    "a layer more configured": (fields(num_hidden_layers=3), r"'bert\.encoder\.layer\.2\..* is missing"),
    "another width": (fields(hidden_size=64), "is missing or has another shape"),
    "another vocabulary": (fields(vocab_size=290), r"word_embeddings\.weight' .* another shape"),
    "fewer embeddings": (one(lambda t: t[:200].clone(), EMBEDDINGS), r"word_embeddings\.weight' .* another shape"),
    "an unmerged adapter": (tensors(lambda t: t.update(UNMERGED)), r"has no '.*lora_A\.weight'"),
    "nan": (one_value(float("nan")), rf"'{LAST_QUERY}' holds a value that is not finite"),
    "infinity": (one_value(float("-inf")), "not finite"),
    "nan in float16": (one_value(float("nan"), torch.float16), "not finite"),
    "infinity in bfloat16": (one_value(float("inf"), torch.bfloat16), "not finite"),
    "beyond float32": (one_value(1e300, torch.float64), "not finite"),
    "int8": (one(lambda t: (t * 100).to(torch.int8)), rf"'{LAST_QUERY}' is quantized \(I8\)"),
    "float8": (one(lambda t: t.to(torch.float8_e4m3fn)), r"is quantized \(F8_E4M3\)"),
    "packed integers": (one(lambda t: t.to(torch.int32)), r"is quantized \(I32\)"),
    "quantized elsewhere": (fields(quantization_config={"quant_method": "gptq", "bits": 4}), "is quantized"),
    "truncated": (truncated, r"model\.safetensors cannot be read .*incomplete"),
    "a header that lies": (content(lambda old: (2**40).to_bytes(8, "little") + old[8:]), "cannot be read .*header"),
    "a pickle by another name": (content(lambda old: b"\x80\x04."), "cannot be read"),
    "an unknown architecture": (fields(model_type="nosuch"), f"{UNREADABLE}.*nosuch"),
    "heads that do not divide": (fields(num_attention_heads=5), f"{UNREADABLE}.*multiple"),
    "an unknown activation": (fields(hidden_act="nosuch"), f"{UNREADABLE}.*KeyError 'nosuch'"),
    "a text for a number": (fields(hidden_size="wide"), f"{UNREADABLE}.*hidden_size"),
    "padding outside of the vocabulary": (fields(pad_token_id=900), f"{UNREADABLE}.*adding"),
    "the configuration of a decoder": (fields(model_type="gpt2"), "is missing or has another shape"),
    "an adapter": (an_adapter, "merge the adapter into its base model first"),
    "a shard of another folder": (
        shards("../x.safetensors"),
        r"names '\.\./x\.safetensors', which is not in this",
    ),
    "a pickle among the shards": (shards("weights.bin"), r"names 'weights\.bin'; only safetensors weights are read"),
    "a shard without a name": (shards(5), "weight_map does not name the file of each tensor"),
    "weights in a named pipe": (pipe(), r"model\.safetensors' is not a regular file"),
    "a tokenizer in a named pipe": (pipe("special_tokens_map.json"), "is not a regular file"),
    "a link to a named pipe": (link_to_a_pipe, "is not a regular file"),
    "a folder for a configuration": (folder_instead, r"has no config\.json"),
    "a link that leads nowhere": (link("config.json", "nowhere"), r"has no config\.json"),
}


@pytest.mark.parametrize("problem", UNFIT)
def test_a_model_that_is_not_what_its_configuration_says_is_refused(problem, bert, tmp_path):
    source = shutil.copytree(bert, tmp_path / "source")
    damage, message = UNFIT[problem]
    damage(source)
    prepare = partial(pretrained.prepare_model, {"source": "local", "path": str(source)}, tmp_path / "out")
    refused(message, prepare, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("problem", ["renamed tensors", "a layer more", "a layer more configured"])
def test_a_model_that_does_not_fit_is_not_loaded_either(problem, bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "model")
    damage, message = UNFIT[problem]
    damage(folder)
    refused(message, lambda: models.load(folder, ["a", "b"]), tmp_path / "out")


DECODERS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 130, "pad_token_id": None},
    "gpt2 with padding": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 130, "pad_token_id": 0},
    "opt": {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_hidden_layers": 2},
    "llama": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "pad_token_id": 0},
    "modernbert-decoder": dict(encoder("modernbert-decoder")),
    "bert that reads in one direction": BERT | {"is_decoder": True},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
}
NOT_FOR_TEXTS = f"{UNREADABLE}.*Unrecognized configuration class"  # transformers has no classifier of it


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_refused_when_it_is_prepared(name, bert, tmp_path):
    from transformers import AutoConfig, AutoModel

    shape = {"model_type": name.split()[0], "num_attention_heads": 2, "vocab_size": 300} | DECODERS[name]
    source = shutil.copytree(bert, tmp_path / "source")
    AutoModel.from_config(AutoConfig.for_model(**shape)).save_pretrained(source)
    prepare = partial(pretrained.prepare_model, {"source": "local", "path": str(source)}, tmp_path / "out")
    message = NOT_FOR_TEXTS if name == "mamba" else r"is a decoder \(.*use an encoder or an encoder-decoder"
    refused(message, prepare, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("field", [{"hidden_act": "nosuch"}, {"num_attention_heads": 5}, {"hidden_size": -1}])
def test_a_random_model_that_cannot_be_made_is_refused(field, tmp_path):
    source = {"source": "random", "config": BERT | field, "seed": 1}
    prepare = partial(pretrained.prepare_model, source, tmp_path / "out")
    refused(r"model\.config: transformers cannot make this model", prepare, tmp_path / "out")


def old_names(folder):
    renamed("LayerNorm.weight", "LayerNorm.gamma")(folder)
    renamed("LayerNorm.bias", "LayerNorm.beta")(folder)


def link_to_the_weights(folder):
    (folder / MODEL).rename(folder.parent / "blob")
    link(MODEL, "../blob")(folder)


BUFFERS = {
    "bert.embeddings.position_ids": torch.arange(130)[None],
    "bert.embeddings.token_type_ids": torch.zeros(1, 130),
}
HEADS = {"cls.predictions.transform.dense.weight": torch.ones(32, 32), "cls.seq_relationship.bias": torch.zeros(2)}
FIT = {
    "names of old checkpoints": old_names,
    "no prefix": renamed("bert.", ""),
    "stored positions": tensors(lambda t: t.update(BUFFERS)),
    "the heads of pre-training": tensors(lambda t: t.update(HEADS)),
    "float64": every(lambda t: t.double()),
    "a pickle beside the weights": lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04."),
    "a link to the weights": link_to_the_weights,
}


@pytest.mark.parametrize("form", FIT)
def test_other_forms_of_the_same_weights_are_the_same_model(form, bert, tmp_path):
    source = shutil.copytree(bert, tmp_path / "source")
    FIT[form](source)
    pretrained.prepare_model({"source": "local", "path": str(source)}, tmp_path / "out")
    assert (tmp_path / "out" / MODEL).read_bytes() == (bert / MODEL).read_bytes()
    assert {file.name for file in (tmp_path / "out").iterdir()} == {file.name for file in bert.iterdir()}


def test_embeddings_that_two_parts_share_are_stored_once_and_shared_again(bert, tmp_path):
    from transformers import AutoModel, BartConfig

    config = BartConfig(vocab_size=300, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
                        max_position_embeddings=130)  # fmt: skip
    AutoModel.from_config(config).save_pretrained(tmp_path / "source")
    for file in bert.glob("tokenizer*"):
        shutil.copyfile(file, tmp_path / "source" / file.name)
    pretrained.prepare_model({"source": "local", "path": str(tmp_path / "source")}, tmp_path / "out")
    model = models.load(tmp_path / "out", ["a", "b"]).model
    assert model.encoder.embed_tokens.weight is model.decoder.embed_tokens.weight
