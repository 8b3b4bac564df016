#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  with the trigger mtime, touching an input file makes its job run again, whatever the size of the file.
# Truth:  only if the file is large. For inputs below --max-checksum-file-size (1 MB by default) Snakemake remembers a checksum, and a newer file with
#         the same content is not newer. The same touch on a file of 2 MB reruns the job. With --max-checksum-file-size 0 both rerun.
# Matters: a copy of a study that does not keep times can make inputs newer than outputs: then the jobs that read weights or
#         predictions (megabytes) run again, and the ones that read scores and settings (kilobytes) do not. And
#         `touch` is no way to have one table drawn again. Use --forcerun, or raise the limit so that large files are compared by content too.
# Output seen:
#   after touch, to be run again: big
#   after touch, no checksums:    big small
#   after touch, limit 10 MB:     nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"
cat > "$folder/Snakefile" <<'SMK'
rule all:
    input: "out/small", "out/big"
rule one:
    input: "in/{size}"
    output: "out/{size}"
    shell: "cp {input} {output}"
SMK
run() { # name, options: a study is made, its inputs touched, and what would run again is printed
    mkdir -p "$folder/$1/in"
    cd "$folder/$1"
    head -c 1000 /dev/zero > in/small
    head -c 2000000 /dev/zero > in/big
    sleep 1.1
    snakemake --snakefile ../Snakefile --cores 1 --quiet all "${@:2}" > log 2>&1 || { cat log >&2; exit 1; }
    sleep 1.1
    touch in/small in/big
    snakemake --snakefile ../Snakefile --dry-run "${@:2}" > log 2>&1 || { cat log >&2; exit 1; }
    { sed -n 's/^ *output: out\///p' log; grep -o '^Nothing' log | tr N n || true; } | sort | tr '\n' ' ' | sed 's/ $//'
}
default=$(run default)
none=$(run none --max-checksum-file-size 0)
ten=$(run ten --max-checksum-file-size 10MB)
echo "snakemake $(snakemake --version)"
echo "after touch, to be run again: $default"
echo "after touch, no checksums:    $none"
echo "after touch, limit 10 MB:     $ten"
if [[ "$default" == "big" && "$none" == "big small" && "$ten" == "nothing" ]]; then
    echo "by guess: both run again; really: only the job of the large file"
else
    echo "by guess: both run again; really: something else (changed)"
    exit 1
fi
