"""`lora-core compare`: the settings in which two studies differ, and their results with intervals."""

import shutil

import pytest
from builders import run_content, write_run
from scipy import stats

from lora_core.commands.compare import compare_studies, welch_interval
from lora_core.records import read_json, write_json


def study(folder, scores, times, *, rank=8, device="a CPU", energy=None, task="cola"):
    """A results folder with one run of lora a seed."""
    write_json(folder / "study.json", {"model": {"source": "wheel"}, "data": {"source": "mini"}})
    for seed, (score, seconds) in enumerate(zip(scores, times, strict=True), 1):
        measurement = {
            "score": {"best": score, "last": score}, "train_seconds": seconds, "energy": {"train_joules": energy},
            "memory": {"saved_for_backward_mb": 100.0 * (rank or 1)},
        }  # fmt: skip
        changes = {
            "run": {"settings": {"rank": rank}}, "measurement": measurement, "provenance": {"device_model": device},
        }  # fmt: skip
        record = run_content("lora", task, seed, **changes)
        write_run(folder / "runs" / "lora" / task / f"seed{seed}" / "run.json", record)
    return folder


def rows(text):
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {row[2]: row[3:] for row in cells if len(row) == 6}


def test_welchs_interval_is_scipys():
    a, b = [0.8, 0.82, 0.81], [0.85, 0.9, 0.8, 0.88]
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert welch_interval(a, b) == pytest.approx((expected.low, expected.high))
    assert welch_interval(a[:2], b) is None


def test_what_differs_comes_first_and_scores_have_an_interval(tmp_path):
    a = study(tmp_path / "a", [0.80, 0.82, 0.81], [10.0, 11.0, 12.0])
    b = study(tmp_path / "b", [0.85, 0.90, 0.88], [20.0, 22.0, 24.0], rank=4)
    text = compare_studies(a, b)
    assert text.index("| lora on CoLA: settings: rank | 8 | 4 |") < text.index("## Results")
    assert "learning_rate" not in text
    cells = rows(text)
    low, high = welch_interval([0.80, 0.82, 0.81], [0.85, 0.90, 0.88])
    assert cells["best score (%)"] == ["81.0", "87.7", f"+6.7 [{100 * low:+.1f}, {100 * high:+.1f}]"]
    assert cells["training time (s)"][2].startswith("2.00× [")
    assert cells["saved for backward (MB)"] == ["800", "400", "0.50×"]
    assert cells["energy of training (J)"] == ["n/a", "n/a", "n/a"]


def test_a_lower_score_has_a_minus_sign_and_what_a_side_lacks_is_absent(tmp_path):
    a, b = study(tmp_path / "a", [0.8], [10.0]), study(tmp_path / "b", [0.75], [10.0], rank=None)
    text = compare_studies(a, b)
    assert rows(text)["best score (%)"] == ["80.0", "75.0", "−5.0"]
    assert "| lora on CoLA: settings: rank | 8 | absent |" in text


def test_a_method_is_called_what_its_model_card_calls_it(tmp_path):
    a, b = study(tmp_path / "a", [0.8], [10.0]), study(tmp_path / "b", [0.75], [10.0], rank=4)
    for folder in (a, b):
        (folder / "runs/lora/cola/seed1/README.md").write_text(
            "---\ntags: []\n---\n\n# My LoRA (own) on CoLA\n\ntext\n"
        )
    text = compare_studies(a, b)
    assert "| My LoRA (own) on CoLA: settings: rank | 8 | 4 |" in text
    assert "| My LoRA (own) | CoLA | best score (%) |" in text
    assert "| lora " not in text


def test_two_methods_of_one_label_are_told_apart(tmp_path):
    a, b = (study(tmp_path / name, [0.8], [10.0]) for name in "ab")
    for folder in (a, b):
        (folder / "runs/lora/cola/seed1/README.md").write_text("# LoRA on CoLA\n")
        record = run_content("vera", "cola", 1)
        write_run(folder / "runs/vera/cola/seed1/run.json", record)
        (folder / "runs/vera/cola/seed1/README.md").write_text("# LoRA on CoLA\n")
    text = compare_studies(a, b)
    assert "| LoRA, lora | CoLA |" in text
    assert "| LoRA, vera | CoLA |" in text


def test_two_devices_are_not_compared_in_time_and_two_seeds_have_no_interval(tmp_path):
    a = study(tmp_path / "a", [0.8, 0.8], [10.0, 10.0], energy=5.0)
    b = study(tmp_path / "b", [0.8, 0.9], [5.0, 5.0], energy=5.0, device="another")
    cells = rows(compare_studies(a, b))
    assert cells["training time (s)"] == ["10", "5", "n/a"]
    assert cells["energy of training (J)"][2] == "n/a"
    assert cells["best score (%)"] == ["80.0", "85.0", "+5.0"]
    assert "| device | a CPU, 2 threads | another, 2 threads |" in compare_studies(a, b)


def test_a_ratio_is_that_of_the_means_next_to_it(tmp_path):
    a = study(tmp_path / "a", [0.8] * 3, [10.0, 10.0, 100.0])
    b = study(tmp_path / "b", [0.8] * 3, [30.0, 30.0, 30.0])
    text = compare_studies(a, b)
    left, right, compared = rows(text)["training time (s)"]
    assert (left, right) == ("21.54", "30")  # (10 * 10 * 100) ** (1 / 3), which is half of the mean
    assert compared.startswith("1.39× [")
    assert "geometric means over seeds" in text


def test_the_same_twice_differs_in_nothing_and_strangers_share_nothing(tmp_path):
    a, b = study(tmp_path / "a", [0.8], [1.0]), study(tmp_path / "b", [0.8], [1.0])
    assert "None." in compare_studies(a, b)
    other = compare_studies(a, study(tmp_path / "c", [0.8], [1.0], task="rte"))
    assert "The studies share no method and task." in other
    assert "| runs that the other study lacks | lora on CoLA | lora on RTE |" in other
    assert "hyperparameters" not in other


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no run\.json under runs/"):
        compare_studies(tmp_path, tmp_path)


def test_the_test_score_is_compared_where_there_is_one(own_run, lora_run, tmp_path):
    for side in ("a", "b"):
        for task, run in (("own", own_run), ("cola", lora_run)):
            shutil.copytree(run, tmp_path / side / "runs" / "lora" / task / "seed1")
    score = 100 * read_json(own_run / "run.json")["measurement"]["test"]["chosen"]
    lines = [line for line in compare_studies(tmp_path / "a", tmp_path / "b").splitlines() if "test score" in line]
    assert lines == [f"| lora | own | test score (%) | {score:.1f} | {score:.1f} | 0.0 |"]
