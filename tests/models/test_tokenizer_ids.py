"""What a model is trained on is its own tokenizer's ids, and AutoTokenizer gives the same for all that is written."""

import json
import re
import shutil

import pandas as pd
import pytest
from builders import FULL, LORA, SHAPE, prepared, trained
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from lora_core.data.datasets import tokenize
from lora_core.data.tasks import TASKS
from lora_core.methods.merging import merge_adapter
from lora_core.models import sentencepiece_files
from lora_core.models.pretrained import prepare_model
from lora_core.models.tokenizer import open_tokenizer
from lora_core.records import read_json

TEXTS = [
    "a dog", "A Dog and THE cat.", "  the  dog ", "\ufb01lm \u2460", "no\u00a0break\tnew\nline",
    "caf\u00e9 cafe\u0301", "it's 1,000 people, isn't it?", "\u65e5\u672c\u8a9e",
]  # fmt: skip
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
# Families with a sentencepiece file: its name, and the special pieces that it was trained with.
LOWER_CASED = ("albert", "fnet")
CONTROL = {"control_symbols": "[CLS],[SEP],[MASK]", "unk_id": 1, "bos_id": -1, "eos_id": -1, "pad_id": 0}
FAIRSEQ = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
SENTENCEPIECE = {
    "albert": ("spiece.model", CONTROL),
    "xlm-roberta": ("sentencepiece.bpe.model", FAIRSEQ),
    "camembert": ("sentencepiece.bpe.model", FAIRSEQ),
    "xlnet": ("spiece.model", {"unk_id": 0, "bos_id": 1, "eos_id": 2, "control_symbols": "<cls>,<sep>,<pad>,<mask>"}),
    "deberta-v2": (
        "spm.model",
        {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
        | {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
    ),
    "big_bird": (
        "spiece.model",
        {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "control_symbols": "[SEP],[MASK],[CLS]"},
    ),
    "rembert": ("sentencepiece.model", CONTROL | {"pad_piece": "[PAD]", "unk_piece": "[UNK]"}),
    "fnet": ("spiece.model", CONTROL),
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


def from_local(source, out):
    prepare_model({"source": "local", "path": str(source)}, out)
    return out


def data_ids(model):
    """The ids that data/ has for TEXTS, each paired with the next."""
    columns = {"sentence1": TEXTS, "sentence2": TEXTS[1:] + TEXTS[:1], "label": [0] * len(TEXTS)}
    examples = tokenize(columns, TASKS["rte"], model, 128).examples
    return [examples.tokens[a:b].tolist() for a, b in zip(examples.offsets, examples.offsets[1:], strict=False)]


def auto_ids(folder):
    """The ids that AutoTokenizer gives for the same."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)(TEXTS, TEXTS[1:] + TEXTS[:1])["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizer_json_is_copied_unchanged_and_autotokenizer_gives_its_ids(family, tmp_path):
    source = model_folder(tmp_path / "source", family)
    original = unlike_the_class(family)
    original.save(str(source / "tokenizer.json"))
    out = from_local(source, tmp_path / "out")
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    expected = [encoding.ids for encoding in original.encode_batch([*zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)])]
    assert data_ids(out) == expected == auto_ids(out)
    assert read_json(out / "tokenizer_config.json")["pad_token"] == "[PAD]"


def test_a_tokenizer_json_of_another_kind_than_its_class_expects_is_used_as_it_is(tmp_path):
    source = model_folder(tmp_path / "source", "deberta-v2")
    unlike_the_class("bert").save(str(source / "tokenizer.json"))
    out = from_local(source, tmp_path / "out")
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert data_ids(out) == auto_ids(out)


def test_a_tokenizer_json_that_pads_and_truncates_gives_the_ids_of_whole_texts(tmp_path):
    source = model_folder(tmp_path / "source", "bert")
    original = unlike_the_class("bert")
    original.enable_truncation(6)
    original.enable_padding(length=6)
    original.save(str(source / "tokenizer.json"))
    out = from_local(source, tmp_path / "out")
    assert data_ids(out) == auto_ids(out)
    assert max(map(len, auto_ids(out))) > 6


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_weights_and_merged_weights_carry_the_tokenizer_that_the_data_has(family, tmp_path):
    source = model_folder(tmp_path / "source", family)
    unlike_the_class(family).save(str(source / "tokenizer.json"))
    base = from_local(source, tmp_path / "base")
    data = tokenized_cola(base, tmp_path / "data")
    targets = {"bert": ["query", "value"], "deberta-v2": ["query_proj", "value_proj"]}[family]
    settings = {"lora": LORA | {"targets": targets}, "fft": FULL}
    runs = [trained(settings[name], base, data, tmp_path / name) for name in settings]
    merge_adapter(base, runs[0] / "weights", runs[0] / "run.json", tmp_path / "merged")
    for folder in (*(run / "weights" for run in runs), tmp_path / "merged"):
        assert auto_ids(folder) == data_ids(base)


def tokenized_cola(model, out):
    """Some sentences of which the test's vocabulary knows every word."""
    from lora_core.data.datasets import TokenizedFiles, tokenize_task
    from lora_core.data.source import DatasetSource

    folder = out / "source" / "cola"
    folder.mkdir(parents=True)
    sentences = pd.DataFrame({"sentence": ["the dog and a cat", "The film and a Dog"] * 8, "label": [0, 1] * 8})
    for split in ("train", "validation"):
        sentences.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    tokenize_task(DatasetSource("local", str(folder.parent)), TASKS["cola"], model, 128, TokenizedFiles.in_folder(out))
    return out


def test_token_types_are_an_input_where_the_model_was_trained_with_them(tmp_path):
    inputs = {}
    for family in ("albert", "bert", "roberta", "distilbert"):
        source = model_folder(tmp_path / family, family)
        unlike_the_class(family).save(str(source / "tokenizer.json"))
        out = from_local(source, tmp_path / f"{family}-out")
        inputs[family] = read_json(out / "tokenizer_config.json")["model_input_names"]
    assert {family for family, names in inputs.items() if "token_type_ids" in names} == {"albert", "bert"}


@pytest.fixture(scope="module")
def trained_file(tmp_path_factory):
    """A file trained by sentencepiece for a family, made once for each."""
    from sentencepiece import SentencePieceTrainer

    folder = tmp_path_factory.mktemp("sentencepiece")

    def train(family, **options):
        name, pieces = SENTENCEPIECE[family]
        prefix = folder / f"{family}-{len(options)}"
        if not prefix.with_suffix(".model").exists():
            words = [word.lower() if family in LOWER_CASED else word for word in WORDS]
            sentences = [" ".join(words[i % len(words)] for i in range(start, start + 7)) for start in range(200)]
            SentencePieceTrainer.train(
                sentence_iterator=iter(sentences), model_prefix=str(prefix), vocab_size=60, hard_vocab_limit=False,
                minloglevel=3, **pieces, **options,
            )  # fmt: skip
        return name, prefix.with_suffix(".model")

    return train


def sentencepiece_folder(folder, family, trained_file, **options):
    """A folder with a family's config.json, weights that are never read, and a sentencepiece file alone."""
    from transformers import AutoConfig

    AutoConfig.for_model(family).save_pretrained(folder)
    (folder / "model.safetensors").write_text("")
    name, file = trained_file(family, **options)
    shutil.copyfile(file, folder / name)
    return folder, folder / name


@pytest.mark.parametrize(
    ("family", "shift", "template"),
    [
        ("albert", 0, "[CLS] {} [SEP]"), ("xlm-roberta", 1, "<s> {} </s>"), ("camembert", 4, "<s> {} </s>"),
        ("xlnet", 0, "{} <sep> <cls>"),
    ],
)  # fmt: skip
def test_a_sentencepiece_file_alone_gives_the_ids_of_sentencepiece(family, shift, template, trained_file, tmp_path):
    from sentencepiece import SentencePieceProcessor

    folder, file = sentencepiece_folder(tmp_path, family, trained_file)
    tokenizer = open_tokenizer(folder)
    original = SentencePieceProcessor(model_file=str(file))
    for text in TEXTS:
        reduced = text.replace("\u00e9", "e").replace("e\u0301", "e") if family in ("albert", "xlnet") else text
        ids = original.encode(reduced.lower() if family in LOWER_CASED else reduced)
        pieces = [tokenizer.loaded.unk_token_id if i == original.unk_id() else i + shift for i in ids]
        before, after = (tokenizer.loaded.convert_tokens_to_ids(part.split()) for part in template.split("{}"))
        assert tokenizer.backend.encode(text).ids == before + pieces + after


@pytest.mark.parametrize("family", ["albert", "xlm-roberta"])
def test_a_model_with_a_sentencepiece_file_alone_is_prepared_with_a_tokenizer_json(family, trained_file, tmp_path):
    source = model_folder(tmp_path / "source", family)
    name, file = trained_file(family)
    shutil.copyfile(file, source / name)
    out = from_local(source, tmp_path / "out")
    assert data_ids(out) == auto_ids(out)
    assert (out / "tokenizer.json").is_file()
    assert not (out / name).exists()


@pytest.mark.parametrize(
    ("family", "problem"),
    [
        ("deberta-v2", r"for '\ufb01lm \u2460' it has other tokens|for 'no\\xa0break' it has other tokens"),
        ("big_bird", "it has other tokens than the file"),
        ("rembert", r"it does not add \[CLS\] and \[SEP\]"),
        ("fnet", r"it does not add \[CLS\] and \[SEP\]"),
    ],
)
def test_a_conversion_that_differs_from_sentencepiece_is_refused(family, problem, trained_file, tmp_path):
    folder, file = sentencepiece_folder(tmp_path / "source", family, trained_file)
    with pytest.raises(ValueError, match=problem) as caught:
        from_local(folder, tmp_path / "out")
    assert re.search(f"transformers makes of '.*{file.name}', is not the model's tokenizer", str(caught.value))
    assert "put the model's tokenizer.json next to it" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_in_another_order_than_the_file_is_refused(trained_file, tmp_path):
    folder, file = sentencepiece_folder(tmp_path, "albert", trained_file)
    tokenizer = open_tokenizer(folder).loaded
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    vocabulary[10], vocabulary[11] = vocabulary[11], vocabulary[10]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
    with pytest.raises(ValueError, match="its vocabulary has another order"):
        sentencepiece_files.check_conversion(tokenizer, file)


@pytest.mark.parametrize("content", [b"", b"a\nb\n", b"\x00" * 64])
@pytest.mark.parametrize("family", ["albert", "deberta-v2"])
def test_a_damaged_sentencepiece_file_is_refused_by_name(family, content, trained_file, tmp_path):
    folder, file = sentencepiece_folder(tmp_path / "source", family, trained_file)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file.name}' is damaged, or no sentencepiece file"):
        from_local(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
