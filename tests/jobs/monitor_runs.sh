#!/bin/bash
# The runs that jobs/README.md, "Warnings", tells of: three that collapse and one healthy beside the quickstart's. Not a test: it
# takes about an hour. A second call goes on where the first was stopped.
#
#   tests/jobs/monitor_runs.sh QUICKSTART-RUN OTHER-SHARDS OUT
#
# QUICKSTART-RUN: what jobs/quickstart.sh left (runs/quickstart: shards and the first healthy run). OTHER-SHARDS: shards of other
# videos. Writes OUT/NAME (runs), OUT/NAME.log and OUT/NAME.html (reports), and prints a line per run.
set -u
[ $# = 3 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")/../.." && pwd)
vjepa=${VJEPA:-$here/build/release/vjepa}
first=$1 other=$2 out=$3
mkdir -p "$out" || exit 74

run() {   # run NAME STEPS WORDS...
  local name=$1 steps=$2; shift 2
  "$vjepa" pretrain "$here/configs/quickstart.yaml" --run "$out/$name" --steps "$steps" "$@" > "$out/$name.log" 2>&1 || {
    echo "$name: exit $?, see $out/$name.log"; return; }
  tell "$name" "$out/$name"
}
tell() {   # tell NAME RUN: when a held-out ratio of 0.97 met a rank of 3, when the first warning began, and the report
  local collapsed warned
  collapsed=$(jq -rn '[foreach inputs as $l ({}; {rank: $l.monitor.rank, step: $l.step, ratio: $l.held_out.ratio};
    select(.ratio != null and .ratio >= 0.97 and .rank != null and .rank <= 3) | .step)] | first // "never"' "$2/metrics.jsonl")
  warned=$(jq -sr '[.[] | select(.state == "begins")] | first | if . then "\(.step) \(.name)" else "never" end' "$2/warnings.jsonl")
  echo "$1: collapsed at step $collapsed, first warning $warned, $(tail -n 1 "$2/metrics.jsonl" | jq -c '[.step, .loss]')"
  "$vjepa" report "$2" --out "$out/$1.html" > /dev/null || echo "$1: no report"
}
tell quickstart "$first/pretrain"
run lr10 300 data.dir="$first/shards" optim.lr=0.006 optim.final_lr=0.006
run lr30-other 300 data.dir="$other" optim.lr=0.018 optim.final_lr=0.018
run lr30 800 data.dir="$first/shards" optim.lr=0.018 optim.final_lr=0.018
run healthy-other 1300 data.dir="$other" seed=7 model.preset=tiny
