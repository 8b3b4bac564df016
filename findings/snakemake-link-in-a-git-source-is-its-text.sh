#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  a module from a git repository (`gitfile`) reads the same files as from a clone of that repository.
# Truth:  of a symbolic link it reads the text of the link, the name of its target, because it asks git for the blob and checks nothing out. From a
#         folder, the link is followed.
# Matters: a workflow that shares a file by a link (a table, a schema, a prompt) works for its authors and in their tests, and those who deploy it
#         from git get a file with one line that is a path. Where that is still a valid table or YAML, nothing fails.
# Output seen:
#   module from the folder:   task,score
#   module from git:          ../shared.csv
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
mkdir -p "$folder/repository/workflow" "$folder/user"
cd "$folder/repository"
echo "task,score" > shared.csv
ln -s ../shared.csv workflow/table.csv
cat > workflow/Snakefile <<'SMK'
print("READ", open(workflow.source_path("table.csv")).read().strip())
rule one:
    output: "one.txt"
    shell: "touch {output}"
SMK
git init -q .
git add .
git -c user.name=a -c user.email=a@b commit -qm workflow
git tag v1
read_from() { # what the module reads, for a `snakefile:`
    printf 'module m:\n    snakefile: %s\nuse rule * from m\n' "$1" > "$folder/user/Snakefile"
    (cd "$folder/user" && XDG_CACHE_HOME=$folder/cache "$folder/venv/bin/snakemake" -n one.txt --quiet all 2> log || cat log >&2) | sed -n 's/^READ //p' | head -1
}
from_folder=$(read_from "\"$folder/repository/workflow/Snakefile\"")
from_git=$(read_from "gitfile(\"$folder/repository\", path=\"workflow/Snakefile\", tag=\"v1\")")
echo "module from the folder:   $from_folder"
echo "module from git:          $from_git"
if [[ "$from_folder|$from_git" == "task,score|../shared.csv" ]]; then
    echo "by guess: twice the table; really: from git the text of the link"
else
    echo "by guess: twice the table; really: something else (changed)"
    exit 1
fi
