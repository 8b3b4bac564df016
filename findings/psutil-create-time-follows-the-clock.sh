#!/usr/bin/env bash
# psutil 7.2.2 (Linux)
#
# Guess:  A process id together with `create_time()` names a process for as long as it runs, so both can be written to a file and compared
#         later by another process.
# Truth:  `create_time()` is the ticks since the boot, which never change, plus the time of the boot as the kernel has it now. When the
#         clock is set, that time moves, and with it the creation time of every process that runs. psutil itself compares the ticks alone
#         (`Process ==` and `is_running()`), but does not give them out.
# Matters: After a correction of the clock, a lock with such a note looks as if its owner had ended, and is broken while the owner works.
# Output seen (the clock is not set: psutil reads a copy of /proc/stat in which the boot is an hour later, as after setting it):
#   moved by 3600.0 s, still the same process: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile psutil==7.2.2
seen=$("$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys
from pathlib import Path

import psutil

process = psutil.Process()
before = process.create_time()
proc = Path(sys.argv[1], "proc")
proc.mkdir()
(proc / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
lines = Path("/proc/stat").read_text().splitlines()
moved = [f"btime {int(line.split()[1]) + 3600}" if line.startswith("btime") else line for line in lines]
(proc / "stat").write_text("\n".join(moved) + "\n")
psutil.PROCFS_PATH = str(proc)
again = psutil.Process()
print(f"moved by {again.create_time() - before:.1f} s, still the same process: {again == process}")
PYTHON
)
if [[ "$seen" == "moved by 3600.0 s, still the same process: True" ]]; then
    echo "by guess: moved by 0.0 s; really: $seen"
else
    echo "by guess: moved by 0.0 s; really: $seen (changed)"
    exit 1
fi
