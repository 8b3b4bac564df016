"""A model's tokenizer is the one that it came with, or there is none and the model is refused."""

import json
import shutil
from fnmatch import fnmatch

import pytest

from lora_core.models import pretrained
from lora_core.models.tokenizer import open_tokenizer

# An encoder of each family of tokenizers, and a vocabulary file of another family.
FOREIGN = {"bert": "spiece.model", "roberta": "vocab.txt", "albert": "vocab.txt", "deberta-v2": "spiece.model"}


def model_folder(folder, model_type):
    """A folder with what a model has besides its tokenizer."""
    from transformers import AutoConfig

    AutoConfig.for_model(model_type).save_pretrained(folder)
    (folder / "model.safetensors").write_text("")
    return folder


def write_vocabulary(file):
    """A small vocabulary of words, or a sentencepiece file."""
    from sentencepiece import SentencePieceTrainer

    if file.suffix == ".txt":
        file.write_text("a\nb\n")
        return
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a dog and a cat", "the cat ran"] * 9), model_prefix=str(file.with_suffix("")),
        vocab_size=30, hard_vocab_limit=False, minloglevel=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    "model_type", ["bert", "xlm-roberta", "deberta-v2", "distilbert", "electra", "albert", "roberta"]
)
def test_a_folder_without_a_tokenizer_is_refused_before_its_weights_are_read(model_type, tmp_path):
    folder = model_folder(tmp_path / "source", model_type)
    with pytest.raises(ValueError, match=r"model\.path: '.*source' has no tokenizer; copy the model's tokenizer\.json"):
        pretrained.prepare_model({"source": "local", "path": str(folder)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model_type", FOREIGN)
def test_a_tokenizer_that_transformers_makes_up_is_refused(model_type, tmp_path):
    folder = model_folder(tmp_path, model_type)
    write_vocabulary(folder / FOREIGN[model_type])
    with pytest.raises(ValueError, match=r"has no tokenizer: \w+Tokenizer reads tokenizer\.json, or"):
        open_tokenizer(folder)


def test_a_tokenizer_without_words_is_refused(tmp_path):
    folder = model_folder(tmp_path, "roberta")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(special)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ValueError, match=r"\(RobertaTokenizer\) has an empty vocabulary"):
        open_tokenizer(folder)


def test_a_damaged_tokenizer_is_refused_in_one_sentence(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="transformers cannot read the tokenizer in") as caught:
        open_tokenizer(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "model_type", ["bert", "roberta", "xlm-roberta", "deberta-v2", "albert", "xlnet", "xlm", "mpnet", "esm", "roc_bert"]
)
def test_every_file_of_a_tokenizer_is_fetched_from_the_hub(model_type):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING

    entry = TOKENIZER_MAPPING[CONFIG_MAPPING[model_type]]
    classes = [c for c in (entry if isinstance(entry, tuple) else [entry]) if c is not None]
    files = {name for c in classes for name in c.vocab_files_names.values()}
    assert files
    assert all(any(fnmatch(name, pattern) for pattern in pretrained.FILES) for name in files)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "electra", "mpnet"])
def test_a_cased_vocabulary_is_not_lower_cased_by_default(model_type, tmp_path):
    folder = model_folder(tmp_path, model_type)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    (folder / "vocab.txt").write_text("\n".join([*special, "a", "A", "dog", "Dog"]))
    with pytest.raises(ValueError, match=r"has capital letters, but \w+ lower-cases every text by default; add a tok"):
        open_tokenizer(folder)
    for is_lower in (False, True):
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": is_lower}))
        tokens = open_tokenizer(folder).backend.encode("A Dog", add_special_tokens=False).tokens
        assert tokens == (["a", "dog"] if is_lower else ["A", "Dog"])


def test_an_uncased_vocabulary_is_lower_cased(tmp_path):
    folder = model_folder(tmp_path, "bert")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog")
    assert open_tokenizer(folder).backend.encode("A Dog", add_special_tokens=False).tokens == ["a", "dog"]
