"""Search for LoRA's rank and learning rate with Optuna; each trial is a study with a results folder of its own.

    .venv/bin/pip install 'optuna>=4'
    .venv/bin/python examples/search.py results/search cola 20 --cores all

What follows the number of trials goes to snakemake, such as `--configfile config/demo.yaml`. The same command again
goes on where the search was stopped. One search at a time works in a folder.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import optuna
from optuna.trial import Trial, TrialState

METHOD, SEEDS = "lora", (1,)


class TrialFailed(Exception):
    """A trial without a score: the search goes on with the next one."""


def settings(trial: Trial) -> dict[str, object]:
    """The method's settings that a trial tries, as in `method_settings` of the configuration."""
    rank = trial.suggest_categorical("rank", [2, 4, 8, 16])
    learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    return {"rank": rank, "alpha": rank, "hyperparameters": {"learning_rate": learning_rate}}


def run_snakemake(results: Path, task: str, method_settings: dict[str, object], options: list[str]) -> list[Path]:
    """Make the runs of a trial in a process of their own, which leaves nothing behind in this one."""
    records = [results / "runs" / METHOD / task / f"seed{seed}" / "run.json" for seed in SEEDS]
    config = {"results_dir": str(results), "seeds": SEEDS, "method_settings": {METHOD: method_settings}}
    assignments = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in config.items()]
    command = [sys.executable, "-m", "snakemake"]
    process = subprocess.Popen([*command, *map(str, records), *options, "--config", *assignments])
    try:
        status = process.wait()
    except KeyboardInterrupt:  # Snakemake was interrupted as well: let it end its jobs
        process.wait()
        raise
    if status:
        raise TrialFailed(f"snakemake ended with status {status}")
    return records


def mean_score(records: list[Path]) -> float:
    """The mean score after the last epoch: the best epoch's is chosen on the data that it is measured on."""
    scores = [json.loads(record.read_text())["measurement"]["score"]["last"] for record in records]
    mean = sum(scores) / len(scores)
    if not math.isfinite(mean):  # Optuna takes infinity for a score, and for the best one
        raise TrialFailed(f"the score is {mean}")
    return mean


def open_study(folder: Path) -> optuna.Study:
    """The study of a folder: a new one, or the one to go on with."""
    folder.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{folder / 'search.db'}"
    study = optuna.create_study(study_name="search", storage=storage, direction="maximize", load_if_exists=True)
    for trial in study.get_trials(states=[TrialState.RUNNING]):  # of a search that was killed
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    # With the same seed as before, the sampler would propose the same trials again.
    study.sampler = optuna.samplers.TPESampler(seed=finished(study))
    return study


def finished(study: optuna.Study) -> int:
    """How many trials have ended, well or not."""
    return sum(trial.state.is_finished() for trial in study.trials)


def search(folder: Path, task: str, trials: int, options: list[str]) -> optuna.Study:
    """Go on with a folder's search until it has so many trials."""
    study = open_study(folder)

    def objective(trial: Trial) -> float:
        try:
            return mean_score(run_snakemake(folder / f"trial{trial.number}", task, settings(trial), options))
        except KeyboardInterrupt:
            study.enqueue_trial(trial.params)  # Optuna counts it as failed: try the same again
            raise

    study.optimize(objective, n_trials=max(0, trials - finished(study)), catch=(TrialFailed,))
    return study


if __name__ == "__main__":
    made = search(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:] or ["--cores", "all"])
    if not made.get_trials(states=[TrialState.COMPLETE]):
        sys.exit("no trial has a score; the messages above say why")
    best = made.best_trial
    print(f"best of {finished(made)} trials: {best.value:.4f} with {best.params}, in trial{best.number}")
