# label: slow
# What scripts and people lean on in training: --steps, stop requests, devices and threads with one result, run directories
# that belong to one run, cooldowns that only read their parent, non-finite steps.
source tests/support/train_fixture.sh
make_shards

expect() {   # expect CODE PATTERN COMMAND...: exit code and a piece of stderr
  local code=$1 pattern=$2 status=0; shift 2
  "$@" > "$scratch/out" 2> "$scratch/err" || status=$?
  [ $status -eq "$code" ] || { fails "exit $status instead of $code: $*"; cat "$scratch/err"; }
  grep -q -- "$pattern" "$scratch/err" || { fails "no '$pattern' in the messages of: $*"; cat "$scratch/err"; }
}
hash_of() { "$VJEPA" checkpoint hash "$1"; }

note "one result: straight, in two pieces, 2 threads, behind an opaque address space"
expect 0 "" train_small "$scratch/a" threads=1
want=$(hash_of "$scratch/a")
expect 0 "" train_small "$scratch/b" threads=1 --steps 25
[ "$("$VJEPA" checkpoint ls "$scratch/b" | grep -c 'step-')" -ge 1 ] || fails "no checkpoint after --steps"
[ "$("$VJEPA" watch "$scratch/b" --json | jq -r '.state + " " + .outcome')" = "ended reached --steps" ] || fails "watch does not say how it ended"
cp -r "$scratch/b" "$scratch/goes-on"   # and a run that goes on is not one that has ended, before its first line neither
VJ_FAULT=kill@create:1 train_small "$scratch/goes-on" log.every=50 > /dev/null 2>&1 || true
[ "$("$VJEPA" watch "$scratch/goes-on" --json | jq -r .state)" = running ] || fails "a run that goes on: $("$VJEPA" watch "$scratch/goes-on" --once | head -n 2)"
expect 0 "" train_small "$scratch/b" threads=2
[ "$(hash_of "$scratch/b")" = "$want" ] || fails "two pieces give another hash"
expect 0 "" train_small "$scratch/c" threads=2 data.threads=2 data.prefetch=4
[ "$(hash_of "$scratch/c")" = "$want" ] || fails "2 threads give another hash"
expect 0 "" train_small "$scratch/far" device=far
[ "$(hash_of "$scratch/far")" = "$want" ] || fails "device=far gives another hash than cpu"
expect 0 "" train_small "$scratch/recompute" model.recompute=block
[ "$(hash_of "$scratch/recompute")" = "$want" ] || fails "model.recompute=block gives another hash"
expect 0 "" train_small "$scratch/one-slot" mask.group=4 train.batch=4 --steps 25
expect 0 "" train_small "$scratch/in-backward" mask.group=4 train.batch=4 optim.in_backward=true model.recompute=block --steps 25
[ "$(hash_of "$scratch/in-backward")" = "$(hash_of "$scratch/one-slot")" ] || fails "optim.in_backward gives another hash"
expect 2 "needs one slot a step" train_small "$scratch/in-backward-2" optim.in_backward=true
expect 2 "train.nonfinite=abort only" train_small "$scratch/in-backward-2" mask.group=4 train.batch=4 optim.in_backward=true train.nonfinite=skip
expect 0 "" train_small "$scratch/ref" device=ref --steps 3

note "a start that was refused keeps nobody out"
expect 2 "" train_small "$scratch/refused" 'data.weights={made: 1, none: 2}'
expect 0 "its place is taken" train_small "$scratch/refused" --steps 5
expect 2 "another configuration" train_small "$scratch/refused" optim.lr=0.1

note "--steps"
expect 0 "reached already" train_small "$scratch/b" --steps 25
expect 2 "beyond train.steps" train_small "$scratch/b" --steps 61

note "a stop request: checkpoint, 75, and the same bits afterwards"
for signal in TERM USR2 INT; do
  run=$scratch/stop-$signal
  "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" > "$scratch/log" 2>&1 &
  pid=$!
  for _ in $(seq 200); do [ -s "$run/metrics.jsonl" ] && break; sleep 0.05; done
  kill -$signal $pid
  status=0; wait $pid || status=$?
  [ $status -eq 75 ] || [ $status -eq 0 ] || { fails "SIG$signal: exit $status instead of 75"; cat "$scratch/log"; }
  [ $status -ne 75 ] || grep -q "stopped on SIG$signal" "$scratch/log" || fails "SIG$signal is not named"
  expect 0 "" train_small "$run"
  [ "$(hash_of "$run")" = "$want" ] || fails "after SIG$signal the hash differs"
  [ "$(grep -c '"step":60' "$run/metrics.jsonl")" = 1 ] || fails "metrics.jsonl has not exactly one line of step 60"
done

note "a run directory belongs to one run"
expect 2 "belongs to a run with another configuration" train_small "$scratch/a" optim.lr=1e-3
grep -q "optim.lr" "$scratch/err" || fails "the different key is not named"
[ "$(hash_of "$scratch/a")" = "$want" ] || fails "a refused start changed the run"
mkdir "$scratch/stranger"; echo x > "$scratch/stranger/thesis.tex"
expect 2 "holds no run" train_small "$scratch/stranger"
[ "$(cat "$scratch/stranger/thesis.tex")" = x ] || fails "a stranger's file was touched"
cp -r "$scratch/a" "$scratch/fresh"
expect 0 "moved the old" train_small "$scratch/fresh" --fresh --steps 1
ls -d "$scratch"/fresh.old-* > /dev/null || fails "--fresh did not keep the old run"
[ "$(hash_of "$scratch"/fresh.old-*)" = "$want" ] || fails "--fresh changed the old run"
expect 2 "is a file" train_small "$scratch/pack.log"
if [ "$(id -u)" != 0 ]; then
  mkdir -m 0555 "$scratch/readonly"; expect 74 "$scratch/readonly" train_small "$scratch/readonly/run"
fi
expect 2 "data.dir" "$VJEPA" pretrain quickstart --run "$scratch/none"
[ ! -e "$scratch/none" ] || fails "a start without data made a run directory"
expect 2 "$scratch/nothing" "$VJEPA" pretrain quickstart --run "$scratch/none" data.dir="$scratch/nothing"

note "cooldown: the parent is only read; several side by side"
cool=("${small[@]}" train.steps=8 optim.schedule=linear_decay optim.final_lr=1e-6 checkpoint.every=4 data.crop=48 'data.fpc=[8]')
before=$(cd "$scratch/a" && find . -type f | sort | xargs sha256sum | sha256sum)
for name in one two; do
  expect 0 "cooling down from" "$VJEPA" cooldown quickstart-cooldown --from "$scratch/a" --run "$scratch/cool-$name" "data.dir=$shards" "${cool[@]}"
done
[ "$(hash_of "$scratch/cool-one")" = "$(hash_of "$scratch/cool-two")" ] || fails "two equal cooldowns differ"
expect 0 "" "$VJEPA" cooldown quickstart-cooldown --from "$scratch/a@50" --run "$scratch/cool-50" "data.dir=$shards" "${cool[@]}"
[ "$(hash_of "$scratch/cool-one")" != "$(hash_of "$scratch/cool-50")" ] || fails "cooldowns from different steps agree"
expect 0 "" "$VJEPA" cooldown quickstart-cooldown --from "$scratch/a" --run "$scratch/cool-cut" "data.dir=$shards" "${cool[@]}" --steps 3
expect 0 "" "$VJEPA" cooldown quickstart-cooldown --from "$scratch/a" --run "$scratch/cool-cut" "data.dir=$shards" "${cool[@]}"
[ "$(hash_of "$scratch/cool-cut")" = "$(hash_of "$scratch/cool-one")" ] || fails "a resumed cooldown differs"
after=$(cd "$scratch/a" && find . -type f | sort | xargs sha256sum | sha256sum)
[ "$before" = "$after" ] || fails "a cooldown changed its parent"
expect 2 "was started from" "$VJEPA" cooldown quickstart-cooldown --from "$scratch/a@50" --run "$scratch/cool-one" "data.dir=$shards" "${cool[@]}"
expect 2 "another model" "$VJEPA" cooldown quickstart-cooldown --from "$scratch/a" --run "$scratch/cool-other" "data.dir=$shards" "${cool[@]}" model.depth=3
expect 2 "holds a pretrain" "$VJEPA" cooldown quickstart-cooldown --from "$scratch/a" --run "$scratch/a" "data.dir=$shards" "${cool[@]}"

note "non-finite steps"
expect 87 "not finite" train_small "$scratch/nan" optim.lr=1e36 optim.start_lr=1e36 optim.warmup=0
ls "$scratch"/nan/nonfinite-step-*.json > /dev/null || fails "the non-finite step was not dumped"
expect 0 "weights unchanged" train_small "$scratch/skip" optim.lr=1e36 optim.start_lr=1e36 optim.warmup=0 train.nonfinite=skip

note "disk full in a save: the message, and the newest checkpoint stays good"
status=0
VJ_FAULT=fail@pwrite:3 train_small "$scratch/full" > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status -eq 74 ] || { fails "disk full: exit $status instead of 74"; cat "$scratch/err"; }
grep -qi "no space" "$scratch/err" || { fails "disk full is not said"; cat "$scratch/err"; }
expect 0 "" train_small "$scratch/full"
[ "$(hash_of "$scratch/full")" = "$want" ] || fails "after disk full the hash differs"

note "a flipped byte in the newest checkpoint: warned of, the one before is used, same end"
cp -r "$scratch/a" "$scratch/flip"
newest=$(ls -d "$scratch"/flip/ckpt/step-* | tail -n 1)
shard=$(ls "$newest"/*.h5 | head -n 1)
size=$(stat -c %s "$shard")
printf '\x5a' | dd of="$shard" bs=1 seek=$((size / 2)) conv=notrunc status=none
expect 74 "$newest" "$VJEPA" cooldown quickstart-cooldown --from "$newest" --run "$scratch/cool-flip" "data.dir=$shards" "${cool[@]}"
# The run itself goes back to the checkpoint before it. Its last step has to be computed again, so the end is the same.
expect 0 "damaged" train_small "$scratch/flip"
[ "$(hash_of "$scratch/flip")" = "$want" ] || fails "after a damaged checkpoint the hash differs"
exit $((failures > 0))
