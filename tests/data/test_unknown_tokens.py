"""Texts that a model's tokenizer does not know are counted, and refused if they are many."""

import shutil

import pytest
from builders import BERT, prepared

from lora_core.data import batches
from lora_core.data.card import read_data_card
from lora_core.data.datasets import TokenizedFiles, tokenize_task
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task
from lora_core.records import read_json, write_json

KNOWN = "a film that nobody saw"


def word_model(base, folder, words, **config):
    """A prepared model whose tokenizer knows only these words, with [CLS], [SEP] and the types of a pair."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    shutil.copytree(base, folder)
    ids = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": 130, "unk_token": "[UNK]"})
    write_json(folder / "config.json", read_json(folder / "config.json") | config)
    return folder


def tokenized(model, folder, texts, columns=("text",)):
    """The files of a task whose two splits are these texts."""
    folder.mkdir()
    rows = [",".join([*[text] * len(columns), str(i % 2)]) for i, text in enumerate(texts)]
    for split in ("train", "validation"):
        (folder / f"{split}.csv").write_text("\n".join([",".join([*columns, "label"]), *rows]) + "\n")
    task = Task("mine", "mine", columns, ("no", "yes"), ("accuracy",))
    files = TokenizedFiles.in_folder(folder)
    tokenize_task(DatasetSource("user", path=str(folder)), task, model, 128, files)
    return files


def test_unknown_tokens_are_counted_in_the_card(bert, tmp_path, capsys):
    model = word_model(bert, tmp_path / "words", KNOWN.split())
    texts = [KNOWN] * 199 + ["a film nobody saw twice"]  # 1 of 1,000 tokens
    card = read_data_card(tokenized(model, tmp_path / "data", texts).card)
    assert card.train.unknown == card.validation.unknown == 1
    assert "unknown" not in capsys.readouterr().err


def test_more_than_one_percent_of_unknown_tokens_is_said(bert, tmp_path, capsys):
    model = word_model(bert, tmp_path / "words", KNOWN.split())
    tokenized(model, tmp_path / "data", [KNOWN] * 9 + ["a film that vanished"])  # 1 of 49 tokens
    expected = "warning: mine (train): 2.0% of the tokens are unknown to the tokenizer of the model 'words'"
    assert expected in capsys.readouterr().err


def test_more_than_a_fifth_of_unknown_tokens_is_refused(bert, tmp_path):
    model = word_model(bert, tmp_path / "words", KNOWN.split())
    message = r"mine \(train\): 25\.0% of the tokens are unknown to the tokenizer of the model 'words'"
    with pytest.raises(ValueError, match=message):
        tokenized(model, tmp_path / "data", ["a film that vanished"] * 4)
    assert not (tmp_path / "data" / "card.json").exists()


def test_texts_of_which_no_token_is_left_are_unknown(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    model = prepared(tmp_path / "bytes", BERT)
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    ids = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "<mask>"])}
    empty = Tokenizer(models.BPE(ids, []))  # as transformers makes one up for RoBERTa
    empty.pre_tokenizer, empty.post_processor = pre_tokenizers.ByteLevel(), tokenizer.post_processor
    empty.save(str(model / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"100\.0% of the tokens are unknown"):
        tokenized(model, tmp_path / "data", [KNOWN] * 4)


def test_an_empty_text_has_no_unknown_token(bert, tmp_path):
    model = word_model(bert, tmp_path / "words", KNOWN.split())
    files = tokenized(model, tmp_path / "data", ["", " ", '""', KNOWN])
    assert read_data_card(files.card).train.unknown == 0


@pytest.mark.parametrize(("types", "expected"), [(2, True), (1, False), (0, False)])
def test_a_pair_has_token_types_only_if_the_model_has_more_than_one(types, expected, bert, tmp_path):
    model = word_model(bert, tmp_path / "words", KNOWN.split(), type_vocab_size=types)
    files = tokenized(model, tmp_path / "data", [KNOWN] * 4, ("one", "two"))
    assert (batches.load(files.train).types is not None) == expected


def test_a_tokenizer_without_an_unknown_token_knows_the_word_none(bert, tmp_path):
    model = word_model(bert, tmp_path / "words", ["None", "nobody"])
    write_json(model / "tokenizer_config.json", {"model_max_length": 130, "unk_token": None})
    card = read_data_card(tokenized(model, tmp_path / "data", ["None nobody"] * 4).card)
    assert card.train.unknown == 0


def test_a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_refused(bert, tmp_path):
    model = word_model(bert, tmp_path / "words", KNOWN.split(), vocab_size=6)
    with pytest.raises(ValueError, match="gives the token 8, but the model has embeddings for 6 tokens"):
        tokenized(model, tmp_path / "data", [KNOWN] * 4)
