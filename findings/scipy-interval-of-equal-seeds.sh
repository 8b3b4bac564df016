#!/usr/bin/env bash
# scipy 1.17.1 (numpy 2.4.6)
#
# Guess:  three seeds with the same score have the interval [score, score], whatever the score and whichever function makes it.
# Truth:  stats.t.interval(0.95, 2, mean, sem) is (nan, nan) for three times 0.75, but an interval of width 7e-16 for three times 0.7, because
#         the mean of three 0.7 is not 0.7. ttest_1samp's confidence_interval and the percentile bootstrap say [0.75, 0.75],
#         and the default of stats.bootstrap (BCa) says [nan, nan].
# Matters: equal seeds are ordinary here: scores on 277 examples are few, and runs that collapse to the majority class are all equal. Any rule
#         "the margin lies inside the interval" is false for nan and true for the others, so a verdict hangs on the function and on the last
#         bit of a score. Treat a spread of zero by a rule of its own, before any library, with a tolerance and not "== 0".
# Output seen:
#   0.75: t.interval [nan, nan], ttest_1samp [0.75, 0.75], bootstrap percentile [0.75, 0.75], bootstrap BCa [nan, nan]
#   0.70: t.interval width 6.7e-16 with sem 7.9e-17
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import scipy
from scipy import stats


def t_interval(scores):
    return stats.t.interval(0.95, len(scores) - 1, loc=np.mean(scores), scale=stats.sem(scores))


exact, rounded = np.full(3, 0.75), np.full(3, 0.7)
intervals = {
    "t.interval": t_interval(exact),
    "ttest_1samp": tuple(stats.ttest_1samp(exact, 0).confidence_interval()),
    "bootstrap percentile": tuple(stats.bootstrap((exact,), np.mean, method="percentile", rng=1).confidence_interval),
    "bootstrap BCa": tuple(stats.bootstrap((exact,), np.mean, rng=1).confidence_interval),
}
low, high = t_interval(rounded)
print("scipy", scipy.__version__)
print("0.75:", ", ".join(f"{name} [{a:g}, {b:g}]" for name, (a, b) in intervals.items()))
print(f"0.70: t.interval width {high - low:.1e} with sem {stats.sem(rounded):.1e}")
ok = (np.isnan(intervals["t.interval"]).all() and np.isnan(intervals["bootstrap BCa"]).all()
      and intervals["ttest_1samp"] == intervals["bootstrap percentile"] == (0.75, 0.75) and 0 < high - low < 1e-12)
print("by guess: [score, score] from all; really:", "nan from two, and it depends on the score" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
