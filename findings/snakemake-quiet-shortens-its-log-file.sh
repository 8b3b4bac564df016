#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  `--quiet rules` is about the terminal; the "complete log" in .snakemake/log still has the rules, their inputs and reasons.
# Truth:  The same filter applies to the file: the rule's block is in neither.
# Matters: A profile with `quiet: rules` leaves nothing behind that says why a job ran, and a dry run shows no reasons.
# Output seen:
#   blocks of the rule in the log: 1, with --quiet rules 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
cd "$folder"
cat > Snakefile <<'SNAKEFILE'
rule work:
    output: "made"
    shell: "touch {output}"
SNAKEFILE
blocks() { # options
    rm -rf made .snakemake/log
    venv/bin/snakemake --cores 1 "$@" > terminal 2>&1 || { cat terminal >&2; exit 1; }
    cat .snakemake/log/* | grep -c "rule work:" || true
}
seen="blocks of the rule in the log: $(blocks), with --quiet rules $(blocks --quiet rules)"
if [[ "$seen" == "blocks of the rule in the log: 1, with --quiet rules 0" ]]; then
    echo "by guess: 1 and 1; really: $(tr '\n' ';' <<< "$seen")"
else
    echo "by guess: 1 and 1; really: $(tr '\n' ';' <<< "$seen") (changed)"
    exit 1
fi
