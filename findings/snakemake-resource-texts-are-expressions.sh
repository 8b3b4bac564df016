#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  a resource that a profile or --default-resources gives as a text (an account, a partition, a feature) reaches the jobs as that text.
# Truth:  the text is evaluated as Python first, with the built-ins: 2024-15 is 2009, and `max` a function, which no resource may be.
#         What cannot be evaluated stays a text, as most names do.
# Matters: a job runs on the account 2009 of somebody else or is refused without a hint; a partition called `all` ends with a traceback.
#         Quoted twice ("'2024-15'") it is a text.
# Output seen:
#   gpu:          gpu
#   2024-15:      2009
#   '2024-15':    2024-15
#   lab_7:        lab_7
#   max:          ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
cat > Snakefile <<'SNAKEFILE'
rule one:
    output: "one"
    shell: "echo {resources.account} > {output}"
SNAKEFILE
mkdir site
result=""
show() { # the value in the profile
    printf 'default-resources:\n  account: "%s"\n' "$1" > site/config.yaml
    rm -f one
    if snakemake --cores 1 --profile site > log 2>&1; then value=$(cat one); else value=$(grep -oE '[A-Z][A-Za-z]+(Error|Exception)' log | head -1); fi
    printf '%-14s%s\n' "$1:" "$value"
    result="$result$value|"
}
for text in gpu 2024-15 "'2024-15'" lab_7 max; do show "$text"; done
if [[ "$result" == "gpu|2009|2024-15|lab_7|ValueError|" ]]; then
    echo "by guess: each line repeats its text; really: expressions are evaluated"
else
    echo "by guess: each line repeats its text; really: something else (changed)"
    exit 1
fi
