#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  an output without metadata (a file that was added to a rule, or cleaned by --cleanup-metadata) is compared with nothing; the
#         job's other outputs are still compared with the parameters, inputs and code that Snakemake remembers of them.
# Truth:  if a single output lacks metadata, none of the job's outputs is compared: changed parameters no longer rerun it, without a word.
# Matters: a rule that gets a further output, or one record that is lost, keeps results of other settings for good; only time stamps count.
# Output seen:
#   both outputs remembered, rank=2:  train
#   one of them forgotten, rank=2:    nothing
#   the forgotten one alone, rank=2:  nothing
#   the remembered one alone, rank=2: nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
cat > Snakefile <<'SNAKEFILE'
rule train:
    output: "weights", "history"
    params: rank=config["rank"]
    shell: "echo {params.rank} > weights; echo {params.rank} > history"
SNAKEFILE
planned() { # targets
    snakemake "$@" --cores 1 --dry-run --quiet host --config rank=2 > log 2>&1 || { cat log >&2; exit 1; }
    grep -oE '^rule train:' log | grep -oE 'train' || echo nothing
}
snakemake weights --cores 1 --config rank=1 > log 2>&1 || { cat log; exit 1; }
both=$(planned weights history)
snakemake --config rank=1 --cores 1 --cleanup-metadata history > log 2>&1 || { cat log; exit 1; }
one=$(planned weights history)
forgotten=$(planned history)
remembered=$(planned weights)
printf '%-34s%s\n' "both outputs remembered, rank=2:" "$both" "one of them forgotten, rank=2:" "$one" \
    "the forgotten one alone, rank=2:" "$forgotten" "the remembered one alone, rank=2:" "$remembered"
if [[ "$both|$one|$forgotten|$remembered" == "train|nothing|nothing|nothing" ]]; then
    echo "by guess: the last line is train; really: it is nothing"
else
    echo "by guess: the last line is train; really: something else (changed)"
    exit 1
fi
