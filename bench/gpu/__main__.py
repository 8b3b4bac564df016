"""Measure training on a GPU, or check it: `python -m bench.gpu --help`.

Results are written to gpu.json and gpu.md after every part, the most important first: a run that is cut off keeps what
it has.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from lora_core import allocator
from lora_core import device as devices
from lora_core.job import SILENCE_LIBRARIES
from lora_core.measuring.gpus import threads_of_a_job, usable_cores, visible_gpus


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="only the cases whose names have all of these words (bf16 rte)")
    parser.add_argument("--check", action="store_true", help="verify the results of training, in four minutes")
    parser.add_argument("--minutes", type=float, default=60.0, help="start no part that would end later (default: 60)")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    parser.add_argument("--list", action="store_true", help="show the parts and about how long each takes on an H200")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU: tests the code and measures nothing")
    arguments = parser.parse_args()
    started = time.monotonic()
    gpus = visible_gpus()
    if not (arguments.smoke or arguments.list or (gpus if gpus is not None else _torch_finds_a_gpu())):
        raise SystemExit("skipped: there is no CUDA device here; --smoke runs the same code on a CPU")
    os.environ.update(SILENCE_LIBRARIES)
    if arguments.smoke:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif gpus:
        devices.show_only(gpus[0])  # or HF Trainer would divide each batch among all
    allocator.configure("cpu" if arguments.smoke else "cuda")
    from bench.gpu import parts  # which imports torch

    if arguments.list:
        print(parts.describe())
        return
    threads = 1 if arguments.smoke else threads_of_a_job(usable_cores(), 1)
    context, results = parts.open_results(arguments.out, threads, arguments.smoke)
    deadline = started + 60 * arguments.minutes
    if not arguments.check:
        parts.measure(context, results, arguments.names, deadline)
    if arguments.check or arguments.smoke:
        parts.check(context, results)
    print(results.page(), end="")
    if any(check.passed is False for check in results.checks):
        sys.exit(1)


def _torch_finds_a_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
