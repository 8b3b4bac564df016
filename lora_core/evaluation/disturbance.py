"""Which runs were disturbed: another process took time from some or all of their epochs.

An epoch's wall-clock seconds are compared with the seconds that a processor worked for it, and with the other epochs.
How well torch uses its threads need not be known:

- On a CPU the thread that trains always has work: what it does not share out it computes itself, and at the end of a
  shared operation it spins for a moment. If it worked for clearly less than the epoch lasted, it waited for a
  processor, or for a thread that did. A run that is disturbed throughout shows it too. Measured with one and two
  threads.
- Where threads spin for longer (OMP_WAIT_POLICY=active), the first rule does not see another thread wait, but the
  processor seconds of all threads fall below threads x wall. So their ratio to wall-clock time is compared with the
  highest among the runs of the same method on the same task and device, which do the same work. Fewer processor seconds
  in the same time are no disturbance: of many threads some sleep where they could spin, differently in each run.
- Of many threads a single one that waits for a processor delays all others, which spin: with 64 threads the time can
  double while their processor seconds fall by less than a percent. So the time itself is compared as well: that of an
  epoch with the run's median, and the median with that of the fastest run of the same work.
- Processor seconds say little about a GPU, which works while the host waits or spins. There times alone are compared.
- A thread cannot work for longer than the epoch lasted: if it did, one of the clocks is wrong.

The first epoch of each part of a run is not judged: it also warms up.
"""

from collections.abc import Iterable

import pandas as pd

# Shorter epochs are not judged: a single pause of the system changes them by as much as a disturbance.
MIN_EPOCH_SECONDS = 0.5
# Epochs of one run differ by less on a quiet machine, where random batches and clocks change them by some percent.
STANDS_OUT = 1.5
# Of wall-clock time by the thread that trains, and of the highest ratio of all threads. Measured on two processors that
# were free: 0.98 with one thread, 1.00 with two, for full fine-tuning and LoRA alike; where others took a sixth of the
# time 0.84 to 0.86, a quarter 0.69 to 0.79; next to eight busy processes 0.02 to 0.07.
WORKING_SHARE = 0.85
AT_MOST_WORKING = 1.1  # of wall-clock time by one thread; the clocks are not read at the same moment
SLOWER = 1.05  # than the fastest run of the same work; random batches alone make less of a difference


def is_disturbed(history: pd.DataFrame, on_cpu: bool, same_work: Iterable[pd.DataFrame]) -> bool | None:
    """Return whether a run was disturbed, from its history; None if all of its epochs are too short to tell.

    `same_work` are the histories of the runs of its method on its task and device, its own among them. Records without
    processor seconds are judged by the epochs that stand out alone.
    """
    epochs = _judged(history)
    if epochs.empty:
        return None
    others = [_judged(other) for other in same_work]
    fastest = min(other["train_seconds"].median() for other in others if len(other))
    alone = _share(epochs, "train_thread_seconds")
    if _stands_out(history) or epochs["train_seconds"].median() > STANDS_OUT * fastest:
        return True
    if (alone > AT_MOST_WORKING).any():
        return True
    if not on_cpu:
        return False
    all_threads = _share(epochs, "train_processor_seconds")
    highest = pd.concat([_share(other, "train_processor_seconds") for other in others]).max()
    waited = (all_threads < WORKING_SHARE * highest) & (epochs["train_seconds"] > SLOWER * fastest)
    return bool((alone < WORKING_SHARE).any() or waited.any())


def _after_warm_up(history: pd.DataFrame) -> pd.DataFrame:
    """All epochs but the first of each part, or all if there are no others."""
    later = history[history["part"].duplicated()]
    return history if later.empty else later


def _judged(history: pd.DataFrame) -> pd.DataFrame:
    epochs = _after_warm_up(history)
    return epochs[epochs["train_seconds"] >= MIN_EPOCH_SECONDS]


def _share(epochs: pd.DataFrame, column: str) -> pd.Series:
    """Processor seconds of each epoch in relation to its wall-clock seconds; not a number in older records."""
    return epochs.get(column, pd.Series(float("nan"), epochs.index)) / epochs["train_seconds"]


def _stands_out(history: pd.DataFrame) -> bool:
    seconds = _after_warm_up(history)["train_seconds"]
    median = seconds.median()
    slow = seconds > STANDS_OUT * max(median, MIN_EPOCH_SECONDS)
    fast = (seconds * STANDS_OUT < median) & (median >= MIN_EPOCH_SECONDS)
    return bool((slow | fast).any())
