"""Prints docs/models.md: every encoder of transformers taken through every step of a study (`make models`)."""

import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from encoder_trials import NAMES, Trial, try_encoder  # noqa: E402

TEXT = """# Which models work?

<!-- Made by `make models` (docs/models.py), which tries each; `make test-models` compares the page with that. -->

{works} of the {all} encoders and encoder-decoders that transformers classifies texts with can be used, and {refused}
are refused when the model is prepared, with the reason. Decoders, such as GPT-2, OPT and Llama, are refused as well:
preparation tries whether a token changes what the model computes for the tokens before it. One of the {all},
ModernBERT's decoder, is such a model.

Each was tried with tiny random weights and a tokenizer of bytes: it is prepared; a task is tokenized, with the tokens
that AutoTokenizer gives; full fine-tuning, LoRA (own and loralib's) and PEFT's LoRA train it. A run that is
interrupted and resumed ends with the same predictions. What a run saved gives the same logits when this project loads
it, and when transformers or PEFT alone do; so does the merged model. Then all are timed. What this does not show is
whether a pre-trained model learns well, and whether its own tokenizer is one that can be read here; preparation says so
if not.

## What works

- *Longest input*: in tokens, of {positions} positions in the configuration. Preparation tries an input of that length
  (at most 4,096 tokens).
- *Batches*: "equal length" where padding would change the logits although the model gets a mask; then no batch is
  padded, in training, evaluation and timing.
- *Query and value*: the names to give as `targets`, or as `target_modules` of `kind: peft`. Where there are none, name
  other layers; FNet was tried with `dense`, XLNet with `layer_1` and `layer_2`.
- *PEFT's default*: what PEFT targets without `target_modules`; "none" raises an error there.
- *PEFT alone leaves frozen*: the parts of the task head that PEFT does not train unless `modules_to_save` names them.
  Here every method trains the whole head.
- *bf16*: `train.precision: bf16`. *Checkpointing*: `gradient_checkpointing: true`. Where it says no, preparation
  refuses bf16, and the check of memory refuses checkpointing before anything is trained.

"""
NO_LIMIT = "none"


def row(trial: Trial) -> list[str]:
    """The cells of an architecture that can be used."""
    names = ", ".join(f"`{name}`" for name in trial.projections) or (
        "only as convolutions" if trial.convolutions else "none that are linear layers"
    )
    return [
        trial.name,
        NO_LIMIT if trial.longest is None else str(trial.longest),
        "equal length" if trial.equal_length else "padded",
        names,
        ", ".join(f"`{name}`" for name in trial.default_targets) or "none",
        ", ".join(f"`{name}`" for name in trial.frozen_head) or "nothing",
        *("yes" if trial.works[step] is True else "no" for step in STEPS),
    ]


STEPS = {
    "full": "full", "lora": "LoRA", "loralib": "loralib", "peft": "PEFT", "bf16": "bf16",
    "checkpointing": "checkpointing",
}  # fmt: skip
COLUMNS = [
    "architecture", "longest input", "batches", "query and value", "PEFT's default", "PEFT alone leaves frozen",
    *STEPS.values(),
]  # fmt: skip


def lines(trial: Trial) -> list[str]:
    """What the page says of an architecture: a row, or the reason why it is refused, and what it cannot do."""
    if trial.works["prepared"] is not True:
        return [f"- {trial.name}: {_plain(str(trial.works['prepared']))}"]
    refused = [
        f"- {trial.name}, {STEPS[step]}: {_plain(str(reason))}"
        for step, reason in trial.works.items()
        if reason is not True and step != "checkpointing"  # whose reason is always that there is none
    ]
    return [_line(row(trial)), *refused]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return text.removeprefix("model: ").removeprefix("model.config: ")


def page(trials: Sequence[Trial]) -> str:
    """Return the page."""
    usable = [trial for trial in trials if trial.works["prepared"] is True]
    refused = [trial for trial in trials if trial not in usable]
    parts = [
        TEXT.format(works=len(usable), all=len(trials), refused=len(refused), positions=130),
        "\n".join([_line(COLUMNS), "|" + " --- |" * len(COLUMNS), *(_line(row(trial)) for trial in usable)]),
        "\n\nWhat is refused of these, and with which words:\n\n",
        "\n".join(line for trial in usable for line in lines(trial)[1:]),
        "\n\n## What is refused in preparation\n\n",
        "\n".join(line for trial in refused for line in lines(trial)),
    ]
    return "".join(parts)


def main() -> None:
    """Try every architecture, two at a time, and print the page. Exit with the names of those with a wrong result."""
    with ProcessPoolExecutor(2) as pool:
        trials = dict(zip(NAMES, pool.map(_try, NAMES), strict=True))
    if wrong := {name: trial for name, trial in trials.items() if isinstance(trial, str)}:
        sys.exit("\n".join(f"{name}: {problem}" for name, problem in wrong.items()))
    print(page([trial for trial in trials.values() if isinstance(trial, Trial)]))


def _try(name: str) -> Trial | str:
    """What came of an architecture; the error if a result is wrong."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
                return try_encoder(name, Path(folder))
        except Exception as error:  # of any kind: the others are tried all the same
            return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
