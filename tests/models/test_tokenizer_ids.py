"""What a model is trained on is its own tokenizer's ids, and AutoTokenizer gives the same for all that is written."""

import pandas as pd
import pytest
from builders import FULL, LORA, SHAPE, TOKENIZER_TEXTS, auto_ids, data_ids, prepared, prepared_from_local, trained
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from lora_core.data.tasks import TASKS
from lora_core.methods.merging import merge_adapter
from lora_core.records import read_json, write_json

WORDS = "a the A The dog Dog cat and film 1 10 1,000 people it isn't ' s , . ? no break new line café".split()
# Tiny models of families whose classes build a tokenizer of their own from the vocabulary alone.
FAMILIES = {
    "bert": SHAPE,
    "electra": SHAPE | {"embedding_size": 16},
    "distilbert": SHAPE | {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "mpnet": SHAPE,
    "roberta": SHAPE | {"type_vocab_size": 1},
    "xlm-roberta": SHAPE | {"type_vocab_size": 1},
    "camembert": SHAPE | {"type_vocab_size": 1},
    "deberta-v2": SHAPE | {"type_vocab_size": 0, "pad_token_id": 0},
    "albert": SHAPE | {"embedding_size": 16},
    "rembert": SHAPE | {"input_embedding_size": 16},
    "modernbert": SHAPE | dict.fromkeys(("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"), 1),
}  # fmt: skip


def model_folder(folder, family):
    """A folder with the random weights and the configuration of a family's model."""
    source = prepared(folder, {"pad_token_id": 0, **FAMILIES[family], "model_type": family})
    for file in source.glob("tokenizer*"):
        file.unlink()
    return source


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARIES = {
    "wordpiece": lambda names: models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"),
    "unigram": lambda names: models.Unigram([(name, -1.0) for name in names], unk_id=1),
}
KINDS = dict.fromkeys(("bert", "electra", "distilbert", "mpnet", "roberta", "modernbert"), "wordpiece")


def unlike_the_class(family):
    """A tokenizer that keeps capitals, maps compatibility characters, and has a template that no class has."""
    tokenizer = Tokenizer(VOCABULARIES[KINDS.get(family, "unigram")]([*SPECIAL, *dict.fromkeys(WORDS)]))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP] [SEP]", pair="[CLS] $A [SEP] [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizer_json_is_copied_unchanged_and_autotokenizer_gives_its_ids(family, tmp_path):
    source = model_folder(tmp_path / "source", family)
    original = unlike_the_class(family)
    original.save(str(source / "tokenizer.json"))
    out = prepared_from_local(source, tmp_path / "out")
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    expected = [
        encoding.ids
        for encoding in original.encode_batch(
            [*zip(TOKENIZER_TEXTS, TOKENIZER_TEXTS[1:] + TOKENIZER_TEXTS[:1], strict=True)]
        )
    ]
    assert data_ids(out) == expected == auto_ids(out)
    assert read_json(out / "tokenizer_config.json")["pad_token"] == "[PAD]"


def test_a_tokenizer_json_of_another_kind_than_its_class_expects_is_used_as_it_is(tmp_path):
    source = model_folder(tmp_path / "source", "deberta-v2")
    unlike_the_class("bert").save(str(source / "tokenizer.json"))
    out = prepared_from_local(source, tmp_path / "out")
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert data_ids(out) == auto_ids(out)


@pytest.fixture(scope="module")
def pads(tmp_path_factory):
    """A model whose tokenizer.json pads and truncates at 6 tokens, and its prepared folder."""
    folder = tmp_path_factory.mktemp("pads")
    source = model_folder(folder / "source", "bert")
    original = unlike_the_class("bert")
    original.enable_truncation(6)
    original.enable_padding(length=6)
    original.save(str(source / "tokenizer.json"))
    called = {"max_length": 6, "stride": 0, "truncation_strategy": "longest_first", "pad_to_multiple_of": None}
    write_json(source / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 512} | called)
    return source, prepared_from_local(source, folder / "out")


def test_a_tokenizer_json_that_pads_and_truncates_gives_the_ids_of_whole_texts(pads):
    _, out = pads
    assert data_ids(out) == auto_ids(out)
    assert max(map(len, auto_ids(out))) > 6


def test_the_shipped_tokenizer_neither_pads_nor_truncates_and_has_the_length_that_was_trained(pads, tmp_path):
    source, base = pads
    data = tokenized_cola(base, tmp_path / "data", max_length=20)
    runs = {name: trained(s, base, data, tmp_path / name) for name, s in {"lora": LORA, "fft": FULL}.items()}
    merge_adapter(base, runs["lora"] / "weights", runs["lora"] / "run.json", tmp_path / "merged")
    whole = read_json(source / "tokenizer.json")
    for folder in (*(run / "weights" for run in runs.values()), tmp_path / "merged"):
        assert read_json(folder / "tokenizer.json") == whole | {"truncation": None, "padding": None} != whole
        alone = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert [len(alone.encode(text).ids) for text in ("a dog", "dog " * 600)] == [2 + 3, 600 + 3]
        settings = read_json(folder / "tokenizer_config.json")
        assert settings["model_max_length"] == 20
        assert not settings.keys() & {"max_length", "stride", "truncation_strategy", "pad_to_multiple_of"}


def test_a_tokenizer_that_came_truncating_at_the_start_is_shipped_truncating_at_the_end_as_trained(tmp_path):
    source = model_folder(tmp_path / "source", "bert")
    unlike_the_class("bert").save(str(source / "tokenizer.json"))
    write_json(source / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "truncation_side": "left"})
    base = prepared_from_local(source, tmp_path / "base")
    data = tokenized_cola(base, tmp_path / "data", max_length=5)
    run = trained(LORA, base, data, tmp_path / "run")
    merge_adapter(base, run / "weights", run / "run.json", tmp_path / "merged")
    expected = data_ids(base, max_length=12)
    assert expected != data_ids(base)
    for folder in (base, run / "weights", tmp_path / "merged"):
        assert auto_ids(folder, truncation=True, max_length=12) == expected


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_weights_and_merged_weights_carry_the_tokenizer_that_the_data_has(family, tmp_path):
    source = model_folder(tmp_path / "source", family)
    unlike_the_class(family).save(str(source / "tokenizer.json"))
    base = prepared_from_local(source, tmp_path / "base")
    data = tokenized_cola(base, tmp_path / "data")
    targets = {"bert": ["query", "value"], "deberta-v2": ["query_proj", "value_proj"]}[family]
    settings = {"lora": LORA | {"targets": targets}, "fft": FULL}
    runs = [trained(settings[name], base, data, tmp_path / name) for name in settings]
    merge_adapter(base, runs[0] / "weights", runs[0] / "run.json", tmp_path / "merged")
    for folder in (*(run / "weights" for run in runs), tmp_path / "merged"):
        assert auto_ids(folder) == data_ids(base)


def tokenized_cola(model, out, max_length=128):
    """Some sentences of which the test's vocabulary knows every word."""
    from lora_core.data.datasets import TokenizedFiles, tokenize_task
    from lora_core.data.source import DatasetSource

    folder = out / "source" / "cola"
    folder.mkdir(parents=True)
    sentences = pd.DataFrame({"sentence": ["the dog and a cat", "The film and a Dog"] * 8, "label": [0, 1] * 8})
    for split in ("train", "validation"):
        sentences.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    tokenize_task(
        DatasetSource("local", str(folder.parent)), TASKS["cola"], model, max_length, TokenizedFiles.in_folder(out)
    )
    return out


def test_token_types_are_an_input_where_the_model_was_trained_with_them(tmp_path):
    inputs = {}
    for family in ("albert", "bert", "roberta", "distilbert"):
        source = model_folder(tmp_path / family, family)
        unlike_the_class(family).save(str(source / "tokenizer.json"))
        out = prepared_from_local(source, tmp_path / f"{family}-out")
        inputs[family] = read_json(out / "tokenizer_config.json")["model_input_names"]
    assert {family for family, names in inputs.items() if "token_type_ids" in names} == {"albert", "bert"}
