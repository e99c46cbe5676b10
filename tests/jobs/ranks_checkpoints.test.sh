# label: mpi
# Checkpoints between layouts and with damage: what 8 ranks saved in parts is loaded by 1, 2, 3, 4 and 6 and saved again with the same
# tensors; `checkpoint reshard` makes the files that other numbers of ranks write; a missing shard and a flipped byte are one message
# and the checkpoint before it; saves beside the training and saves that are waited for are the same.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

base=(train.steps=12 checkpoint.every=4 checkpoint.keep=3 log.every=4 held_out.every=0 monitor.every=0 threads=1 train.batch=8 parallel.mode=zero2)
on() {   # on N COMMAND RUN WORDS...
  local n=$1 command=$2 run=$3; shift 3
  ranks "$n" timeout 300 "$VJEPA" $command --run "$run" "data.dir=$shards" "${small[@]}" "${base[@]}" "$@" > "$scratch/out" 2> "$scratch/err"
}
tensors() { "$VJEPA" checkpoint hash --per-tensor "$1" | grep float32; }

on 8 "pretrain quickstart" "$scratch/eight" || { cat "$scratch/err"; fails "8 ranks: exit $?"; }
want=$("$VJEPA" checkpoint hash "$scratch/eight") && tensors "$scratch/eight" > "$scratch/tensors"
on 8 "pretrain quickstart" "$scratch/waits" checkpoint.async=false || { cat "$scratch/err"; fails "8 ranks, waiting: exit $?"; }
[ "$("$VJEPA" checkpoint hash "$scratch/waits")" = "$want" ] || fails "saves beside the training give other bits"
# Weights in parts too.
for mode in "fsdp" "hsdp parallel.shard=2"; do
  on 4 "pretrain quickstart" "$scratch/${mode:0:4}" parallel.mode=$mode || { cat "$scratch/err"; fails "$mode: exit $?"; }
  [ "$("$VJEPA" checkpoint hash "$scratch/${mode:0:4}")" = "$want" ] || fails "$mode: other bits with saves beside the training"
  [ "$("$VJEPA" checkpoint hash "$scratch/${mode:0:4}@8")" = "$("$VJEPA" checkpoint hash "$scratch/eight@8")" ] || fails "$mode: other bits at step 8, which was saved beside the training"
done
for step in 4 8 12; do
  [ "$(grep -c "checkpoint of step $step saved in" "$scratch/eight/log.txt")" = 1 ] || fails "step $step is not said to be saved once"
done

note "other numbers of ranks"
modes=([1]=zero2 [2]=zero2 [3]=fsdp [4]=hsdp [6]=zero2)   # all of them write a shard a rank
for n in 1 2 3 4 6; do
  # A cooldown of no steps: it loads its parent and saves what it has.
  words=(parallel.mode=${modes[n]}); [ ${modes[n]} != hsdp ] || words+=(parallel.shard=2)
  on $n "cooldown quickstart --from $scratch/eight" "$scratch/cool$n" optim.warmup=0 "${words[@]}" --steps 0 || { cat "$scratch/err"; fails "loading on $n ranks: exit $?"; continue; }
  tensors "$scratch/cool$n" > "$scratch/got"
  cmp -s "$scratch/tensors" "$scratch/got" || fails "other tensors after loading and saving on $n ranks"
  [ "$(ls "$scratch/cool$n"/ckpt/step-00000000/shard-*.h5 | wc -l)" = $n ] || fails "$n ranks: not $n shards"
  "$VJEPA" checkpoint reshard "$scratch/eight" "$scratch/reshard$n" --ranks $n > "$scratch/out" 2>&1 || { cat "$scratch/out"; fails "reshard to $n"; }
  [ "$("$VJEPA" checkpoint hash "$scratch/reshard$n")" = "$want" ] || fails "another hash after resharding to $n"
  "$VJEPA" checkpoint verify "$scratch/reshard$n" > "$scratch/out" 2>&1 || fails "resharded to $n: not valid"
done
# Byte for byte what 4 ranks of the same run write.
cp -r "$scratch/eight" "$scratch/again" && rm -r "$scratch/again/ckpt/step-00000012"
on 4 "pretrain quickstart" "$scratch/again" || { cat "$scratch/err"; fails "going on on 4 ranks: exit $?"; }
for r in 0 1 2 3; do
  cmp "$scratch/again/ckpt/step-00000012/shard-0000$r-of-00004.h5" "$scratch/reshard4/shard-0000$r-of-00004.h5" || fails "shard $r is not what 4 ranks write"
done
status=0; "$VJEPA" checkpoint reshard "$scratch/eight" "$scratch/reshard4" --ranks 2 > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 2 ] && grep -q "exists already" "$scratch/err" && [ -e "$scratch/reshard4/shard-00003-of-00004.h5" ] || fails "reshard writes over what is there: exit $status"
[ "$("$VJEPA" checkpoint reshard "$scratch/eight@8" "$scratch/reshard5" --ranks 5 --json | jq -c '[.step, .shards_before, .shards]')" = "[8,8,5]" ] || fails "reshard --json"

note "damage"
on 4 "pretrain quickstart" "$scratch/four" || { cat "$scratch/err"; fails "4 ranks: exit $?"; }
flip() {   # flip FILE OFFSET: another byte there
  local byte; byte=$(od -An -tu1 -j "$2" -N1 "$1")
  printf "\\$(printf %o $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null
}
hurt() {   # hurt WHAT RUN: damages the newest checkpoint
  local c=$2/ckpt/step-00000012
  case $1 in
    missing) rm "$c/shard-00002-of-00004.h5" ;;
    payload) flip "$c/shard-00003-of-00004.h5" $(($(stat -c %s "$c/shard-00003-of-00004.h5") - 9)) ;;
    metadata) flip "$c/shard-00001-of-00004.h5" 40 ;;
    short) truncate -s -1 "$c/shard-00000-of-00004.h5" ;;
    manifest) flip "$c/manifest.json" 300 ;;
  esac
}
for what in missing payload metadata short manifest; do
  for n in 4 3 1; do
    run=$scratch/$what$n; cp -r "$scratch/four" "$run"; hurt $what "$run"
    on $n "pretrain quickstart" "$run" || { cat "$scratch/err"; fails "$what, $n ranks: exit $?"; continue; }
    [ "$(grep -c "is damaged: moved to" "$scratch/err")" = 1 ] || { cat "$scratch/err"; fails "$what, $n ranks: one warning was expected"; }
    [ "$(grep -c "WARN" "$scratch/err")" = 2 ] || { cat "$scratch/err"; fails "$what, $n ranks: what is damaged is said once"; }
    grep -q "is damaged: moved to" "$run/log.txt" || fails "$what, $n ranks: log.txt says nothing"
    ls "$run/ckpt" | grep -q "step-00000012.damaged-" || fails "$what, $n ranks: not kept"
    [ $n = 3 ] || [ "$("$VJEPA" checkpoint hash "$run")" = "$want" ] || fails "$what, $n ranks: other bits"
    "$VJEPA" checkpoint verify "$run" > "$scratch/out" 2>&1 || fails "$what, $n ranks: not valid"
  done
  # Named, it is an error.
  run=$scratch/$what-named; cp -r "$scratch/four" "$run"; hurt $what "$run"
  status=0; on 4 "cooldown quickstart --from $run@12" "$scratch/cool-$what" optim.warmup=0 --steps 0 || status=$?
  [ $status = 74 ] && [ "$(grep -c "^vjepa: error:" "$scratch/err")" = 1 ] || { cat "$scratch/err"; fails "$what, named: exit $status"; }
done
for c in "$scratch"/missing-named/ckpt/step-*; do rm -f "$c/shard-00003-of-00004.h5"; done
status=0; on 4 "pretrain quickstart" "$scratch/missing-named" || status=$?
[ $status = 74 ] && [ "$(grep -c "^vjepa: error:" "$scratch/err")" = 1 ] && grep -q "none of its 3 checkpoints can be read" "$scratch/err" || {
  cat "$scratch/err"; fails "all damaged: exit $status"; }
exit $((failures > 0))
