"""Published figures, each block with its source. They are shown beside a study's own, never mixed with them."""

from dataclasses import dataclass

from lora_core.data.tasks import PAPER_TASKS as TASKS


@dataclass(frozen=True)
class Published:
    """Printed rows: `{label: values}`, one value for each column name."""

    source: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]


_PAPER = "Tiny Reproduction: LoRA (RoBERTa-base, GLUE, RTX 3080 Ti)"

TABLES = {
    "table1": Published(
        f"{_PAPER}, Table 1", ("trainable parameters (M)",), {"FFT": (124.6,), "LoRA (paper)": (0.3,), "LoRA": (0.3,)}
    ),
    "table2": Published(
        f"{_PAPER}, Table 2; scores in percent",
        TASKS,
        {
            "FFT": (94.4, 90.2, 62.1, 75.5, 90.7),
            "LoRA (paper)": (95.1, 89.7, 63.4, 86.6, 91.5),
            "LoRA (ref)": (94.3, 88.5, 63.4, 77.6, 90.2),
            "LoRA": (94.4, 88.2, 62.6, 76.5, 89.9),
        },
    ),
    "table3": Published(
        f"{_PAPER}, Table 3; seconds per pass",
        TASKS,
        {"FFT": (0.62, 0.47, 0.36, 0.67, 1.10), "LoRA (merged)": (0.63, 0.46, 0.36, 0.65, 1.09)},
    ),
    "table4": Published(
        f"{_PAPER}, Table 4; GPU memory in MB",
        TASKS,
        {"FFT": (3161.7, 3539.0, 3437.4, 10564.1, 3702.3), "LoRA": (1809.6, 2072.5, 1981.5, 6684.0, 2704.8)},
    ),
    "table5": Published(
        f"{_PAPER}, Table 5 (full fine-tuning)",
        TASKS,
        {
            "power (W)": (327.9, 290.7, 299.6, 321.0, 316.3),
            "train time (s)": (644.9, 53.8, 112.5, 194.2, 64.8),
            "epochs": (4, 3, 8, 10, 3),
            "energy (kJ)": (191.0, 14.2, 30.5, 56.5, 18.6),
        },
    ),
    "table6": Published(
        f"{_PAPER}, Table 6 (LoRA)",
        TASKS,
        {
            "power (W)": (334.7, 325.8, 325.2, 325.0, 327.0),
            "train time (s)": (756.0, 60.6, 433.2, 128.1, 95.6),
            "epochs": (8, 6, 56, 9, 7),
            "energy (kJ)": (227.9, 18.0, 127.5, 37.8, 28.4),
        },
    ),
    "table7": Published(
        f"{_PAPER}, Table 7",
        TASKS,
        {
            "FFT: batch size": (16, 16, 32, 32, 16),
            "FFT: epochs": (5, 5, 10, 10, 10),
            "FFT: learning rate": (2e-5, 3e-5, 3e-5, 3e-5, 3e-5),
            "FFT: weight decay": (0.01, 0.01, 0.01, 0.01, 0.01),
            "LoRA: batch size": (16, 16, 32, 32, 16),
            "LoRA: epochs": (60, 30, 80, 80, 40),
            "LoRA: learning rate": (5e-4, 4e-4, 4e-4, 5e-4, 4e-4),
            "LoRA: weight decay": (0.06, 0.06, 0.06, 0.06, 0.06),
            "LoRA: rank of query and value": (8, 8, 8, 8, 8),
            "LoRA: alpha": (8, 8, 8, 8, 8),
            "LoRA: maximum sequence length": (512, 512, 512, 512, 512),
        },
    ),
    "scaling": Published(
        "Tiny Reproduction: LoRA, Section 5 (mean over its tasks), and Hu et al. 2021 as quoted there",
        ("memory saved (%)",),
        {"RoBERTa-base": (38.0,), "GPT-3 175B": (66.0,)},
    ),
}
