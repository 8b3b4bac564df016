#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  Snakemake locks the files that it reads and makes for as long as it runs: a second call that needs one of them is refused
#         ("Directory cannot be locked"), whatever else runs and ends in the folder.
# Truth:  a call whose files do not overlap is let in, and when it ends it deletes its own locks and the whole folder of them, so those of the
#         call that still runs are gone, too. From then on nothing is refused.
# Matters: draw one table while another call trains, then start the usual command: it trains the same run a second time at the same
#         time, its job truncates the log of the first one, and if it is interrupted, Snakemake deletes what the first one has made.
#         A job that must not run twice needs a lock of its own.
# Output seen:
#   while the first runs, the same target: refused
#   after another target has ended, the same target: runs, 2 jobs at a time
set -euo pipefail
folder=$(mktemp -d)
trap 'touch "$folder/end"; wait; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
cat > Snakefile <<'SMK'
rule slow:
    output: "slow.txt"
    shell: "echo started >> started; while [ ! -e end ]; do sleep 0.1; done; touch {output}"
rule other:
    output: "other.txt"
    shell: "touch {output}"
SMK
started() { # number: wait until so many jobs have started, at most 60 s
    for _ in $(seq 600); do
        [[ $(cat started 2> /dev/null | wc -l) -ge $1 ]] && return
        sleep 0.1
    done
    return 1
}
snakemake --cores 1 slow.txt > first.log 2>&1 &
started 1
snakemake --cores 1 slow.txt > second.log 2>&1 && before=runs || before=$(grep -q "cannot be locked" second.log && echo refused || echo failed)
snakemake --cores 1 other.txt > other.log 2>&1
snakemake --cores 1 slow.txt > third.log 2>&1 &
started 2 && after="runs, $(wc -l < started) jobs at a time" || after=refused
echo "snakemake $(snakemake --version)"
echo "while the first runs, the same target: $before"
echo "after another target has ended, the same target: $after"
if [[ "$before" == refused && "$after" == "runs, 2 jobs at a time" ]]; then
    echo "by guess: refused both times; really: not once another call has ended"
else
    echo "by guess: refused both times; really: something else (changed)"
    exit 1
fi
