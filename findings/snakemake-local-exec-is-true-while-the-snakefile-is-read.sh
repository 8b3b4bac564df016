#!/usr/bin/env bash
# snakemake 9.27.1, snakemake-executor-plugin-cluster-generic 1.0.9
#
# Guess:  `workflow.local_exec` says in a Snakefile whether its jobs run here or are submitted: False with `--executor cluster-generic`.
# Truth:  while the Snakefile is read it is always True, because the executor is set afterwards. In a function of params, which is called when
#         the jobs are planned, it is right.
# Matters: a limit, a number of threads or a device that a Snakefile chooses by it at the top level is that of a local run on every cluster.
# Output seen:
#   local:           read True, planned True
#   cluster-generic: read True, planned False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1 snakemake-executor-plugin-cluster-generic==1.0.9
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
cat > Snakefile <<'SNAKEFILE'
import os
def note(place):
    if workflow.is_main_process:  # not in the snakemake of a submitted job
        with open(os.environ["NOTES"], "a") as file:
            print(place, workflow.local_exec, file=file)
    return ""
note("read")
rule work:
    output: os.environ["OUT"]
    params: value=lambda wildcards: note("planned")
    shell: "touch {output}"
SNAKEFILE
seen() { # name, options
    local name=$1; shift
    export NOTES="$folder/$name.notes" OUT="$name.out"
    snakemake "$@" > log 2>&1 || { cat log >&2; exit 1; }
    echo "read $(sed -n 's/^read //p' "$NOTES" | sort -u | tr '\n' ' ' | sed 's/ $//'), planned $(sed -n 's/^planned //p' "$NOTES" | sort -u | tr '\n' ' ' | sed 's/ $//')"
}
local=$(seen local --cores 1)
remote=$(seen remote --jobs 1 --executor cluster-generic --cluster-generic-submit-cmd "bash")
printf '%-17s%s\n' "local:" "$local" "cluster-generic:" "$remote"
if [[ "$local|$remote" == "read True, planned True|read True, planned False" ]]; then
    echo "by guess: read False, planned False on the cluster; really: read True, planned False"
else
    echo "by guess: read False, planned False on the cluster; really: something else (changed)"
    exit 1
fi
