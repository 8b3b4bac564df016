#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  a file whose name contains braces is an input like any other if the braces are doubled, as the documentation does in shell
#         commands and expand(), or if an input function returns the name.
# Truth:  there is no way to write it. A literal, doubled braces, and both from an input function end in a WildcardError about
#         wildcards that "cannot be determined from output files".
# Matters: data in a folder called {v1} cannot be read by any rule; a workflow has to refuse such a path in its own words, before
#         Snakemake speaks of wildcards that the user never wrote.
# Output seen:
#   literal {x}:            WildcardError
#   doubled {{x}}:          WildcardError
#   function, {x}:          WildcardError
#   function, {{x}}:        WildcardError
#   expand of {{x}}:        WildcardError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"
cd "$folder"
touch "in{x}.txt"
failed=0
try() { # what it is, the input
    printf 'rule all:\n    input: %s\n' "$2" > Snakefile
    if snakemake --dry-run > log 2>&1; then answer="accepted"; failed=1; else answer=$(grep -om1 '[A-Za-z]*Error' log); fi
    [[ "$answer" == "WildcardError" ]] || failed=1
    printf '%-24s%s\n' "$1:" "$answer"
}
try 'literal {x}' '"in{x}.txt"'
try 'doubled {{x}}' '"in{{x}}.txt"'
try 'function, {x}' 'lambda wildcards: ["in{x}.txt"]'
try 'function, {{x}}' 'lambda wildcards: ["in{{x}}.txt"]'
try 'expand of {{x}}' 'expand("in{{x}}.txt")'
if [[ $failed == 0 ]]; then
    echo "by guess: doubled braces are accepted; really: none is"
else
    echo "by guess: doubled braces are accepted; really: something else (changed)"
    exit 1
fi
