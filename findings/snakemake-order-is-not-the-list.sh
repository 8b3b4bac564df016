#!/usr/bin/env bash
# snakemake 9.27.1
#
# Guess:  with --cores 1, jobs that wait for nothing run in the order in which they are asked for (or in a random order).
# Truth:  neither. The default scheduler (ilp) runs them in an order of its own, the same at every call, in any folder and with any
#         hash seed; one job more, and the others change places too.
# Matters: runs of LoRA and full fine-tuning that share a device are measured one after the other, and heat, clocks and other users drift with
#         time. A shuffled or alternating list of targets does not shuffle the measurements, and repeating the study repeats the same order, so the
#         drift does not average out. Record the start time of each run; to set an order, let a run wait for the one before, or use priorities.
# Output seen:
#   asked for:      fft0 lora0 fft1 lora1 fft2 lora2 fft3 lora3 fft4 lora4 fft5 lora5
#   run, first:     fft0 fft1 fft2 fft4 fft3 lora5 lora4 lora1 lora3 fft5 lora0 lora2
#   run, again:     fft0 fft1 fft2 fft4 fft3 lora5 lora4 lora1 lora3 fft5 lora0 lora2
#   one job more:   fft3 fft0 fft1 fft6 fft2 fft4 lora6 lora5 lora4 lora1 lora3 fft5 lora0 lora2
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
others=$(tr ' ' '\n' <<< "$more" | grep -v 6 | tr '\n' ' ' | sed 's/ $//') # the first twelve, in the order of the second study
echo "snakemake $(snakemake --version)"
echo "asked for:      $asked"
echo "run, first:     $first"
echo "run, again:     $again"
echo "one job more:   $more"
if [[ "$first" == "$again" && "$first" != "$asked" && "$others" != "$first" ]]; then
    echo "by guess: in the order asked for; really: in an order of its own, the same each time"
else
    echo "by guess: in the order asked for; really: something else (changed)"
    exit 1
fi
