#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  a job reruns when the value of one of its params has changed ("Params have changed since last execution").
# Truth:  not if it comes from a function that takes threads, resources, input or output: such params are left out of the comparison,
#         without a word. A plain value and a function of the wildcards alone are compared, even by their spelling: 1 and 1.0, a list and
#         a tuple, {x, y} and {y, x} each rerun the job.
# Matters: a number of threads, a device or a memory limit that decides a result is usually passed like this; after it has changed, old results
#         count as up to date and stand next to new ones in one table.
# Output seen (each value changed from 2 to 1):
#   plain:      reruns
#   wildcards:  reruns
#   threads:    up to date
#   resources:  up to date
#   input:      up to date
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
touch source
write() { # the value
    cat > Snakefile <<SNAKEFILE
VALUE = $1
rule all:
    input: "plain", "wildcards.txt", "threads", "resources", "input"
rule plain:
    output: "plain"
    params: value=VALUE
    shell: "echo {params.value} > {output}"
rule wildcards:
    output: "{name}.txt"
    params: value=lambda wildcards: VALUE
    shell: "echo {params.value} > {output}"
rule threads:
    output: "threads"
    threads: VALUE
    params: value=lambda wildcards, threads: threads
    shell: "echo {params.value} > {output}"
rule resources:
    output: "resources"
    resources: size=VALUE
    params: value=lambda wildcards, resources: resources.size
    shell: "echo {params.value} > {output}"
rule input:
    input: "source"
    output: "input"
    params: value=lambda wildcards, input: len(input) * VALUE
    shell: "echo {params.value} > {output}"
SNAKEFILE
}
write 2
snakemake --cores 2 > log 2>&1 || { cat log; exit 1; }
[[ "$(cat plain wildcards.txt threads resources input | tr -d '\n')" == 22222 ]]
write 1
snakemake --cores 2 --dry-run > log 2>&1
failed=0
for rule in plain wildcards threads resources input; do
    if grep -q "^rule $rule:" log; then answer="reruns"; else answer="up to date"; fi
    printf '%-12s%s\n' "$rule:" "$answer"
    case $rule in plain | wildcards) expected="reruns" ;; *) expected="up to date" ;; esac
    [[ "$answer" == "$expected" ]] || failed=1
done
if [[ $failed == 0 ]]; then
    echo "by guess: all five rerun; really: two do"
else
    echo "by guess: all five rerun; really: something else (changed)"
    exit 1
fi
