# label: mpi
# A rank that is slow is named, with its host, once, wherever warnings are; ranks that share CPUs are not. What the lines say of the
# ranks' phases.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

words=("$VJEPA" pretrain quickstart "data.dir=$shards" "${small[@]}" train.batch=8 train.steps=60 log.every=4 checkpoint.every=60
       monitor.every=0 threads=1)
lines() {   # lines RUN FILTER...: all true of the lines of RUN
  local run=$1 filter; shift
  for filter; do jq -e -s "$filter" "$run/metrics.jsonl" > /dev/null || { fails "$run: not true: $filter"; tail -n 1 "$run/metrics.jsonl"; }; done
}
told() { jq -e -s --arg host "$(hostname)" "$1" "$scratch/slow/warnings.jsonl" > /dev/null || { fails "$2"; cat "$scratch/slow/warnings.jsonl"; }; }

note "four ranks on whatever CPUs there are"
ranks 4 timeout 300 "${words[@]}" --run "$scratch/even" > "$scratch/out" 2> "$scratch/err" || { fails "exit $?"; cat "$scratch/err"; }
[ ! -s "$scratch/even/warnings.jsonl" ] || { fails "a warning without reason"; cat "$scratch/even/warnings.jsonl"; }
lines "$scratch/even" 'length == 15' \
  'all(.[].ranks; .count == 4 and .straggler == -1 and .slowest >= 0 and .slowest < 4 and .slowdown >= 1 and (.slowest_host | length) > 0)' \
  'all(.[].phase_seconds; keys == ["communication", "compute", "data", "report", "save", "update"])' \
  'all(.[].phase_seconds[]; 0 <= .min and .min <= .mean * 1.000001 and .mean <= .max * 1.000001)' \
  'all(.[].phase_seconds; .compute.min > 0 and .update.min > 0 and .communication.max > 0)'
# Nothing is missing: the mean rank's phases of a step are the time that steps took (train_seconds) with what is between them.
lines "$scratch/even" '(.[-1].train_seconds - .[0].train_seconds) as $steps
  | (.[1:] | map(4 * (.phase_seconds | .data.mean + .compute.mean + .update.mean + .communication.mean)) | add) > 0.9 * $steps'
for name in phase_seconds_compute_max ranks_slowdown ranks_straggler; do
  grep -q "^vjepa_$name{" "$scratch/even/metrics.prom" || fails "Prometheus' file lacks $name"
done

note "one process: least and most are the same"
"${words[@]}" --run "$scratch/alone" --steps 8 > "$scratch/out" 2>&1 || fails "alone"
lines "$scratch/alone" 'all(.[]; .ranks == { count: 1, straggler: -1 })' 'all(.[].phase_seconds[]; .min == .max)' \
  'all(.[].phase_seconds; .communication.max == 0)'

note "rank 1 of 3 is slow"
one=(-np 1 "${words[@]}" --run "$scratch/slow" --steps 24)
slow=(-np 1 env VJ_FAULT=slow0.05@train.slot:1 "${words[@]}" --run "$scratch/slow" --steps 24)
timeout 300 mpirun --oversubscribe --bind-to none "${one[@]}" : "${slow[@]}" : "${one[@]}" > "$scratch/out" 2> "$scratch/err" || {
  fails "exit $?"; cat "$scratch/err"; }
told 'length == 1 and (.[0] | .name == "straggler" and .state == "begins" and .step == 12 and .value > .limit
      and (.text | startswith("rank 1 on " + $host + " computes ")))' "not named, or not once"
lines "$scratch/slow" 'all(.[:2][]; .warnings == [])' \
  'all(.[2:][]; .warnings == ["straggler"] and (.ranks | .straggler == 1 and .slowest == 1 and .straggler_slowdown > 2))'
[ "$(grep -c 'straggler begins: rank 1 on' "$scratch/err")" = 1 ] || { fails "not said once"; cat "$scratch/err"; }
"$VJEPA" watch "$scratch/slow" --once > "$scratch/page" < /dev/null
grep -q "straggler since step 12: rank 1 on" "$scratch/page" && grep -q "^ranks  *3: computing" "$scratch/page" || {
  fails "watch does not say it"; cat "$scratch/page"; }
"$VJEPA" report "$scratch/slow" > /dev/null && grep -q "A rank is slow" "$scratch/slow/report.html" || fails "report does not say it"
grep -q "Something went wrong" "$scratch/slow/report.html" && fails "report takes it for a fault of training"

note "the same run without it"
ranks 2 timeout 300 "${words[@]}" --run "$scratch/slow" --steps 32 > "$scratch/out" 2> "$scratch/err" || { fails "exit $?"; cat "$scratch/err"; }
told 'length == 2 and (.[1] | .name == "straggler" and .state == "ends" and .step == 28)' "it does not end"
lines "$scratch/slow" 'all(.[6:][]; .warnings == [] and .ranks.count == 2)'
exit $((failures > 0))
