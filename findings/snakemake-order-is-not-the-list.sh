#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  with --cores 1, jobs that wait for nothing run in the order in which they are asked for (or in a random order).
# Truth:  neither. Jobs that are ready lie in a Python set, hashed by their address in memory, and the scheduler (ilp) adds no order to it. On one
#         installation that gives an arbitrary order which comes back at every call, in another folder and under another hash seed; another
#         installation, other options or one job more give another order.
# Matters: runs of LoRA and full fine-tuning that share a device are measured one after the other, and heat, clocks and other users drift with
#         time. A shuffled or alternating list of targets does not shuffle the measurements, and repeating the study on the same machine may well
#         repeat the order, so the drift need not average out. Record the start time of each run; to set an order, make each run wait for the one before.
# Output seen (the order is another on each installation; only that it is not the list's is checked):
#   asked for:      fft0 lora0 fft1 lora1 fft2 lora2 fft3 lora3 fft4 lora4 fft5 lora5
#   run, first:     lora4 fft2 lora2 fft1 lora3 fft0 lora5 fft5 fft4 lora0 lora1 fft3
#   run, again:     lora4 fft2 lora2 fft1 lora3 fft0 lora5 fft5 fft4 lora0 lora1 fft3 (same order: yes)
#   one job each more: fft1 lora4 fft2 lora6 lora2 lora3 fft0 lora5 fft5 fft6 fft4 lora0 lora1 fft3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"
order() { # folder, hash seed, number of seeds: the order in which the jobs ran
    mkdir -p "$folder/$1"
    cat > "$folder/$1/Snakefile" <<SMK
rule all:
    input: [f"o/{m}{i}.txt" for i in range($3) for m in ("fft", "lora")]
rule one:
    output: "o/{run}.txt"
    shell: "echo {wildcards.run} >> order.txt; touch {output}"
SMK
    (cd "$folder/$1" && PYTHONHASHSEED=$2 snakemake --cores 1 --quiet all > log 2>&1 || { cat log >&2; exit 1; })
    tr '\n' ' ' < "$folder/$1/order.txt" | sed 's/ $//'
}
asked="fft0 lora0 fft1 lora1 fft2 lora2 fft3 lora3 fft4 lora4 fft5 lora5"
first=$(order a 1 6)
again=$(order b/c 2 6)
more=$(order d 1 7)
echo "snakemake $(snakemake --version)"
echo "asked for:      $asked"
echo "run, first:     $first"
echo "run, again:     $again (same order: $([[ "$first" == "$again" ]] && echo yes || echo no))"
echo "one job each more: $more"
if [[ "$first" != "$asked" && "$again" != "$asked" && "$more" != "$asked fft6 lora6" ]]; then
    echo "by guess: in the order asked for; really: in an arbitrary one"
else
    echo "by guess: in the order asked for; really: so it is (changed)"
    exit 1
fi
