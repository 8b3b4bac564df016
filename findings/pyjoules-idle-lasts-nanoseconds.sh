#!/usr/bin/env bash
# pyjoules 0.5.1
#
# Guess:  `EnergyMeter.gen_idle(trace)` waits as long as each sample of the trace lasted and measures the energy of doing nothing, so that
#         `trace.remove_idle(...)` leaves what the program itself took.
# Truth:  it sleeps for `sample.duration / 1000000000` seconds, but durations are seconds: for a sample of 0.5 s it measures some
#         microseconds. `remove_idle` subtracts nearly nothing, and no warning is given.
# Matters: "energy without idle" is the energy with idle. On a device that draws 100 W at rest and 110 W at work, 10 % become 100 %, and a ratio of
#         two methods goes towards 1. Measure idle power for some seconds yourself, and subtract it times the duration.
# Output seen (a stand-in device that draws 100 W all the time, so that nothing is left without idle):
#   with idle 50 J, without idle 50 J
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile pyjoules==0.5.1
seen=$("$folder/venv/bin/python" - <<'PYTHON'
import time

from pyJoules.device import Device
from pyJoules.energy_meter import EnergyMeter


class Constant(Device):
    @staticmethod
    def available_domains():
        return ["device"]

    def get_configured_domains(self):
        return ["device"]

    def get_energy(self):
        return [100 * time.monotonic()]  # joules


meter = EnergyMeter([Constant()])
meter.start("sleep")
time.sleep(0.5)
meter.stop()
trace = meter.get_trace()
gross = trace[0].energy["device"]
trace.remove_idle(meter.gen_idle(trace))
print(f"with idle {gross:.0f} J, without idle {trace[0].energy['device']:.0f} J")
PYTHON
)
if [[ "$seen" == "with idle 50 J, without idle 50 J" ]]; then
    echo "by guess: with idle 50 J, without idle 0 J; really: $seen"
else
    echo "by guess: with idle 50 J, without idle 0 J; really: $seen (changed)"
    exit 1
fi
