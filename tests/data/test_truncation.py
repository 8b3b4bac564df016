"""Truncation: the tokens that a tokenizer keeps, in memory that grows with the length of the texts."""

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lora_core.data.truncation import longest_first, truncate

WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2} | {f"w{i}": 3 + i for i in range(40)}
PROCESSORS = {
    "bert": processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
    "roberta": processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1)),
    "template": processors.TemplateProcessing(
        single="[CLS] $0 [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1 [SEP]:2", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    ),
    "at the end": processors.TemplateProcessing(
        single="$A [SEP] [CLS]", pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    ),
}


def tokenizer(processor):
    made = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = PROCESSORS[processor]
    return made


def words(count, first=0):
    return " ".join(f"w{(first + i) % 40}" for i in range(count))


@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_same_tokens_are_kept_as_by_the_tokenizer_itself(processor):
    whole, cut = tokenizer(processor), tokenizer(processor)
    texts = [(words(a), words(b, 7)) for a in range(14) for b in range(14)] + [words(a) for a in range(14)]
    for limit in range(whole.num_special_tokens_to_add(True) + 1, 20):
        cut.enable_truncation(limit, strategy="longest_first")
        for kept, encoding in zip(cut.encode_batch(texts), whole.encode_batch(texts), strict=True):
            ids, types = truncate(encoding, limit)
            assert (list(ids), list(types)) == (kept.ids, kept.type_ids)


def test_the_second_of_two_long_texts_keeps_the_odd_token():
    assert longest_first(9, 9, 7) == (3, 4)
    assert longest_first(9, 8, 7) == (4, 3)
    assert longest_first(2, 9, 7) == (2, 5)


def test_a_limit_without_room_for_text_is_refused():
    encoding = tokenizer("roberta").encode(words(5), words(5))
    assert len(truncate(encoding, 5)[0]) == 5
    with pytest.raises(ValueError, match=r"adds 4 special tokens; set data\.max_length to 5 or more"):
        truncate(encoding, 4)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_pairs_of_long_documents_are_tokenized_in_little_memory(bert):
    """A tokenizer that truncates needs 3.9 GB for these, of which 128 tokens an example are used."""
    program = f"""
import re
from pathlib import Path
from lora_core.data.datasets import tokenize
from lora_core.data.tasks import TASKS
texts = {{"sentence1": ["word " * 500] * 64, "sentence2": ["other " * 500] * 64, "label": [0] * 64}}
split = tokenize(texts, TASKS["rte"], Path({str(bert)!r}), 128)
assert split.truncated == 64 and set(split.examples.lengths) == {{128}}
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1e6  # kilobytes; `ru_maxrss` would be that of the parent process, if it is larger
