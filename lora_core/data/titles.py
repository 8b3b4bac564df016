"""What people call a run on the terminal and in logs: the label of its method, the title of its task, and its seed."""

from collections.abc import Mapping

from lora_core.data.tasks import task_title


def run_title(labels: Mapping[str, str], method: str = "", task: str = "", seed: int | str = "") -> str:
    """Return a title such as "LoRA (own) on CoLA, seed 1", without what is empty; `labels` are those of methods."""
    subject = " on ".join(filter(None, [labels.get(method, method), task_title(task)]))
    return ", ".join(filter(None, [subject, f"seed {seed}" if str(seed) else ""]))
