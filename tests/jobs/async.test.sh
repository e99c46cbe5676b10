# label: slow
# Saves beside the training (checkpoint.async, the default): the bits of a run that waits for its saves; "saved" is said after the
# commit and not before; full disks are the same message and exit code 74; stops save and end with 75; deaths at every point of a save
# leave an older checkpoint or this one. tests/jobs/ranks*.test.sh do the same on many ranks.
source tests/support/train_fixture.sh
make_shards

words=(train.steps=24 checkpoint.every=4 log.every=8 threads=1)
train_small "$scratch/waits" "${words[@]}" checkpoint.async=false > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
want=$("$VJEPA" checkpoint hash "$scratch/waits")
same() { local got; got=$("$VJEPA" checkpoint hash "$1") && [ "$got" = "$want" ] || fails "$2: $got instead of $want"; }

train_small "$scratch/beside" "${words[@]}" > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "async: exit $?"; }
same "$scratch/beside" "async"
grep -q "saves go on beside the training, from a copy in" "$scratch/beside/log.txt" || fails "the copy's memory is not said"
for step in 4 8 12 16 20 24; do
  [ "$(grep -c "checkpoint of step $step saved in" "$scratch/beside/log.txt")" = 1 ] || fails "step $step is not said to be saved once"
done
# The same newest three as ever.
[ "$(ls "$scratch/beside/ckpt")" = "$(ls "$scratch/waits/ckpt")" ] || fails "other checkpoints are kept: $(ls "$scratch/beside/ckpt")"
[ "$(jq '.save_seconds_of_this_process > 0' "$scratch/beside/summary.json")" = true ] || fails "summary.json does not say how long saves were waited for"
VJ_FAULT=fail@checkpoint.copy:1 train_small "$scratch/no-room" "${words[@]}" > "$scratch/log" 2>&1 || fails "no room: exit $?"
same "$scratch/no-room" "no memory for a copy"
grep -q "there is no memory for a copy" "$scratch/log" || fails "nothing is said of missing memory"

note "said after the commit"
for point in before_manifest after_manifest before_rename; do
  status=0; VJ_FAULT=kill@checkpoint.$point:2 train_small "$scratch/$point" "${words[@]}" > "$scratch/log" 2>&1 || status=$?
  [ $status = 137 ] || fails "kill@$point: exit $status"
  grep -q "checkpoint of step 4 saved" "$scratch/$point/log.txt" || fails "$point: step 4 was saved and not said to be"
  ! grep -q "checkpoint of step 8 saved" "$scratch/$point/log.txt" || fails "$point: said to be saved before it was"
  "$VJEPA" checkpoint verify "$scratch/$point" > "$scratch/out" 2>&1 || { cat "$scratch/out"; fails "$point: not valid"; }
done
for point in after_rename before_latest after_latest; do
  status=0; VJ_FAULT=kill@checkpoint.$point:2 train_small "$scratch/$point" "${words[@]}" > "$scratch/log" 2>&1 || status=$?
  [ $status = 137 ] && [ -e "$scratch/$point/ckpt/step-00000008/manifest.json" ] || fails "kill@$point: exit $status, $(ls "$scratch/$point/ckpt")"
  "$VJEPA" checkpoint verify "$scratch/$point" > "$scratch/out" 2>&1 || { cat "$scratch/out"; fails "$point: not valid"; }
done
for point in before_manifest before_rename after_rename after_latest; do
  train_small "$scratch/$point" "${words[@]}" > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "going on after $point: exit $?"; }
  same "$scratch/$point" "after kill@$point"
done

note "full disks"
for fault in fail@pwrite:9 short@pwrite:9 fail@checkpoint.shard:2 fail@checkpoint.before_manifest:2 fail@checkpoint.before_rename:2; do
  run=$scratch/full-${fault//[@:]/-} status=0
  VJ_FAULT=$fault train_small "$run" "${words[@]}" log.prometheus= log.csv=false log.tensorboard=false > "$scratch/out" 2> "$scratch/err" || status=$?
  [ $status = 74 ] || { cat "$scratch/err"; fails "$fault: exit $status"; }
  [ "$(grep -c "^vjepa: error:" "$scratch/err")" = 1 ] && grep -qi "no space left on device" "$scratch/err" && grep -q "saving the checkpoint of step" "$scratch/err" ||
    { cat "$scratch/err"; fails "$fault: one message of the disk and the step was expected"; }
  ! ls "$run/ckpt" 2> /dev/null | grep -q tmp || fails "$fault: something half made stays"
  train_small "$run" "${words[@]}" > "$scratch/log" 2>&1 || fails "going on after $fault: exit $?"
  same "$run" "after $fault"
done

note "stops while a slow disk is written to"
long=(train.steps=4000 checkpoint.every=20 checkpoint.keep=2 log.every=100 threads=1)
VJ_FAULT_DISK=2000000 train_small "$scratch/stopped" "${long[@]}" > "$scratch/out" 2> "$scratch/err" & pid=$!
for _ in $(seq 600); do ls "$scratch/stopped/ckpt" 2> /dev/null | grep -q tmp && break; sleep 0.02; done
pkill -USR2 -f "vjepa pretrain quickstart --run $scratch/stopped" || fails "nothing to stop"
status=0; wait $pid || status=$?
[ $status = 75 ] || { cat "$scratch/err"; fails "stopped: exit $status"; }
"$VJEPA" checkpoint verify "$scratch/stopped" > "$scratch/out" 2>&1 || fails "stopped: not valid"
at=$(sed -n 's/.*stopped on SIGUSR2 at step \([0-9]*\).*/\1/p' "$scratch/err" | head -n 1)
[ -e "$scratch/stopped/ckpt/step-$(printf %08d "$at")/manifest.json" ] || fails "stopped at $at: $(ls "$scratch/stopped/ckpt")"
ls "$scratch/stopped/ckpt" | grep -q tmp && fails "stopped: something half made stays"

note "an error of the training waits for the save that runs"
status=0; VJ_FAULT_DISK=1000000 VJ_FAULT="eio@read[made-0]:60+" train_small "$scratch/broken" "${long[@]}" checkpoint.every=2 checkpoint.keep=100 > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 74 ] || { cat "$scratch/err"; fails "unreadable data: exit $status"; }
if [ -e "$scratch/broken/ckpt" ]; then
  ls "$scratch/broken/ckpt" | grep -q tmp && fails "an error: something half made stays"
  "$VJEPA" checkpoint verify "$scratch/broken" > "$scratch/out" 2>&1 || fails "an error: not valid"
fi
exit $((failures > 0))
