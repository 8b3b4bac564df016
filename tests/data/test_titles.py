"""What people call a run."""

import pytest

from lora_core.data.titles import run_title

LABELS = {"lora": "LoRA (own)"}


@pytest.mark.parametrize(
    ("names", "title"),
    [
        ({"method": "lora", "task": "cola", "seed": 1}, "LoRA (own) on CoLA, seed 1"),
        ({"method": "mine", "task": "moods", "seed": "2"}, "mine on moods, seed 2"),
        ({"method": "lora"}, "LoRA (own)"),
        ({"task": "stsb"}, "STS-B"),
        ({"task": "stsb", "seed": 0}, "STS-B, seed 0"),
        ({}, ""),
    ],
)
def test_a_run_is_called_by_the_label_of_its_method_and_the_title_of_its_task(names, title):
    assert run_title(LABELS, **names) == title
