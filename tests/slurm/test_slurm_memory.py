"""Memory that no node of a real Slurm has, asked for by a second try."""

import pytest
from builders import FAULTS, HANG_SECONDS
from slurm_project import RESOURCES, RUN, STUDY, slurm

pytestmark = pytest.mark.slurm
KILL = "import os\nos.kill(os.getpid(), 9)"  # as the kernel does it: SIGKILL, which the job's shell reports as 137
KILLED = "train LoRA (own) on CoLA, seed 1: killed (SIGKILL; possibly out of memory"


def test_a_second_try_whose_memory_fits_no_node_does_not_hide_why_the_first_one_failed(project, jobs):
    FAULTS["tried"] += 1
    megabytes = max(int(text.strip("+")) for text in slurm("sinfo", "--noheader", "--format=%m").split())
    measured = RESOURCES["measured"] | {"mem_mb": int(megabytes * 0.6)}
    project.configure(**STUDY | {"resources": RESOURCES | {"measured": measured}})
    project.before_training(KILL)
    output, _ = (process := project.submit(RUN)).communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert "Memory specification can not be satisfied" in output
    assert output.index("Memory specification can not be satisfied") < output.index(KILLED)
    assert len([job for job in jobs() if job["NodeCnt"] != "0"]) == 1  # Slurm also records the one that it refused
