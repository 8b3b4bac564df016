"""What sections of the page conclude from tables and records."""

import pandas as pd
import pytest
from builders import METHOD_LABELS

from lora_core.evaluation.references import References
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.page.conclusions import convergence, hyperparameters, runs_conclusion
from lora_core.reporting.table import Cell

REFERENCES = References(full="fft", adapter="lora")
SETTINGS = DrawSettings(labels=METHOD_LABELS, references=REFERENCES)


def setting(method, name, value, task="cola"):
    return Cell(name, method, value, method=method, task=task, quantity=name)


RATES = [setting("fft", "learning rate", 2e-5), setting("lora", "learning rate", 5e-4)]
EPOCHS = [setting("fft", "epochs", 3), setting("lora", "epochs", 3)]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (
            [*RATES, *EPOCHS, setting("lora", "rank", 8)],
            "LoRA (own) and full fine-tuning differ in learning rate (0.0005 and 0.00002), and share 1 hyperparameter.",
        ),
        (
            [*EPOCHS, setting("fft", "epochs", 5, "rte"), setting("lora", "epochs", 9, "rte"), *RATES],
            "LoRA (own) and full fine-tuning differ in epochs and learning rate (0.0005 and 0.00002), and share 0 "
            "hyperparameters.",
        ),
        (EPOCHS, "LoRA (own) and full fine-tuning share 1 hyperparameter and differ in none."),
        (
            [*EPOCHS, setting("vera", "epochs", 4)],
            "LoRA (own) and full fine-tuning share 1 hyperparameter and differ in none.",
        ),
        (
            [setting("ia3", "epochs", 3), setting("vera", "epochs", 4)],
            "The 2 methods differ in epochs (3 and 4), and share 0 hyperparameters.",
        ),
        ([setting("lora", "epochs", 3)], ""),
    ],
)
def test_hyperparameters_that_both_methods_have_are_compared_task_by_task(cells, sentence):
    assert hyperparameters(cells, SETTINGS) == sentence


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (
            ("less", "more", "disturbed"),
            "Compared with full fine-tuning, LoRA (own) needs fewer epochs to equal accuracy on 1 and more epochs to "
            "equal accuracy on 1 of 3 tasks; 1 undecided.",
        ),
        (
            ("more", "more"),
            "Compared with full fine-tuning, LoRA (own) needs more epochs to equal accuracy on 2 of 2 tasks.",
        ),
        (
            ("", ""),
            "Whether LoRA (own) needs fewer epochs than full fine-tuning to equal accuracy is undecided on every task.",
        ),
        ((), ""),
    ],
)
def test_tasks_with_a_verdict_on_epochs_are_counted(verdicts, sentence):
    against = f"epochs to the threshold, relative to {METHOD_LABELS['fft']}"
    cells = [Cell("", "", method="lora", quantity=against, note=note) for note in verdicts]
    others = [Cell("", "", method="vera", quantity=against, note="less"), Cell("", "", method="lora", note="less")]
    assert convergence([*cells, *others], SETTINGS) == sentence


@pytest.mark.parametrize(
    ("disturbed", "suspended", "shared", "sentence"),
    [
        ((False, False), (0, 0), (None, False), "2 runs, none of them disturbed."),
        (
            (True, False), (0, 0), (None, None),
            "2 runs, of which 1 was disturbed; those decide nothing about time and energy.",
        ),
        (
            (False, True), (3, 0), (False, True),
            "2 runs, of which 2 were disturbed and 1 was on a device that another process used; those decide nothing "
            "about time and energy.",
        ),
    ],
)  # fmt: skip
def test_runs_that_something_disturbed_are_counted(disturbed, suspended, shared, sentence):
    frame = pd.DataFrame({"disturbed": disturbed, "suspended_seconds": suspended, "shared": shared})
    assert runs_conclusion(frame) == sentence
