"""A model with a sentencepiece file alone: its ids are sentencepiece's, or it is refused."""

import json
import re
import shutil

import pytest
from builders import SHAPE, TOKENIZER_TEXTS, auto_ids, data_ids, prepared, prepared_from_local
from tokenizers import Tokenizer

from lora_core.models import sentencepiece_files
from lora_core.models.tokenizer import open_tokenizer

WORDS = "a the A The dog Dog cat and film 1 10 1,000 people it isn't ' s , . ? no break new line café".split()
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
    for text in TOKENIZER_TEXTS:
        reduced = text.replace("\u00e9", "e").replace("e\u0301", "e") if family in ("albert", "xlnet") else text
        ids = original.encode(reduced.lower() if family in LOWER_CASED else reduced)
        pieces = [tokenizer.loaded.unk_token_id if i == original.unk_id() else i + shift for i in ids]
        before, after = (tokenizer.loaded.convert_tokens_to_ids(part.split()) for part in template.split("{}"))
        assert tokenizer.backend.encode(text).ids == before + pieces + after


@pytest.mark.parametrize("family", ["albert", "xlm-roberta"])
def test_a_model_with_a_sentencepiece_file_alone_is_prepared_with_a_tokenizer_json(family, trained_file, tmp_path):
    shape = {"albert": {"embedding_size": 16}, "xlm-roberta": {"type_vocab_size": 1}}[family]
    source = prepared(tmp_path / "source", SHAPE | {"pad_token_id": 0, "model_type": family} | shape)
    for made_up in source.glob("tokenizer*"):
        made_up.unlink()
    name, file = trained_file(family)
    shutil.copyfile(file, source / name)
    out = prepared_from_local(source, tmp_path / "out")
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
        prepared_from_local(folder, tmp_path / "out")
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
        prepared_from_local(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
