# label: slow
# A run that is killed with -9 and continued is the run that was not: the same state, the same samples in the same order, the same
# losses. Three sources of different weights, gradients summed over four slots, saves beside the training and saves that are waited for.
source tests/support/train_fixture.sh
for s in a b c; do make_videos "$scratch/$s"; done
"$VJEPA" data pack --out "$shards" --source "a=$scratch/a" --source "b=$scratch/b" --source "c=$scratch/c" --weight a=1 --weight b=2 --weight c=0.5 --window 3 \
  --recode 64 --hold-out 0.2 > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }

words=(train.steps=40 checkpoint.every=5 checkpoint.keep=2 log.every=1 monitor.every=0 threads=1)
figures() { jq -c '[.step, .loss, .grad_norm, .cursor, .adam_step]' "$1/metrics.jsonl"; }
train_small "$scratch/whole" "${words[@]}" > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
want=$("$VJEPA" checkpoint hash "$scratch/whole")
figures "$scratch/whole" > "$scratch/want"
[ "$(wc -l < "$scratch/want")" = 40 ] || fails "not a line for every step"
for async in true false; do
  run=$scratch/$async
  # A disk that is slow enough for saves to be under way when the process dies.
  VJ_FAULT_DISK=3000000 "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" "${words[@]}" checkpoint.async=$async > "$scratch/log" 2>&1 & pid=$!
  for _ in $(seq 3000); do [ "$(wc -l < "$run/metrics.jsonl" 2> /dev/null || echo 0)" -ge 17 ] && break; sleep 0.01; done
  kill -KILL $pid; status=0; wait $pid 2> /dev/null || status=$?
  [ $status = 137 ] || fails "async=$async: ended with $status before it was killed"
  train_small "$run" "${words[@]}" checkpoint.async=$async > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "async=$async: exit $?"; }
  grep -q "resuming pretrain" "$run/log.txt" || fails "async=$async: it began anew"
  [ "$("$VJEPA" checkpoint hash "$run")" = "$want" ] || fails "async=$async: other bits"
  figures "$run" | cmp -s - "$scratch/want" || { figures "$run" | diff - "$scratch/want" | head; fails "async=$async: other losses or samples"; }
done
exit $((failures > 0))
