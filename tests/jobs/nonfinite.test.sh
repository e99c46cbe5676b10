# label: mpi
# A step that is not finite on one rank (bar 21): abort, skip and rollback are decided alike on all ranks, give the same bits on 1, 2
# and 4 of them, for a loss as for a gradient, and what is left out is left out by resumed runs too.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

base=(train.batch=8 train.steps=12 checkpoint.every=4 checkpoint.keep=9 log.every=2 threads=1)
hash_of() { "$VJEPA" checkpoint hash "$1"; }
same() { [ "$(hash_of "$2")" = "$1" ] || fails "$3: $(hash_of "$2") instead of $1"; }
differ() { [ "$(hash_of "$2")" != "$1" ] || fails "$3: the same hash"; }
plain() { "$VJEPA" pretrain quickstart --run "$1" "data.dir=$shards" "${small[@]}" "${base[@]}" "${@:2}" > "$scratch/out" 2> "$scratch/err"; }
# broken N POINT STEP RUN WORDS...: slot 3 of 8 of step STEP is broken at POINT, on the rank of N that has it; its exit code in $status.
broken() {
  local n=$1 point=$2 step=$3 run=$4 each=$((8 / $1)) rank=$((3 % $1)) apps=(); shift 4
  local command=("$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" "${base[@]}" "$@")
  [ $rank = 0 ] || apps+=(-np $rank "${command[@]}" :)
  apps+=(-np 1 env "VJ_FAULT=fail@$point:$(((step - 1) * each + 3 / n + 1))" "${command[@]}")
  [ $rank = $((n - 1)) ] || apps+=(: -np $((n - 1 - rank)) "${command[@]}")
  status=0; timeout 120 mpirun --oversubscribe --bind-to none "${apps[@]}" > "$scratch/out" 2> "$scratch/err" || status=$?
}
is() { [ $status = "$1" ] || { fails "exit $status instead of $1: $2"; cat "$scratch/err"; }; }
says() { [ "$(grep -c -- "$1" "$scratch/err")" = 1 ] || { fails "'$1' is not said once: $2"; cat "$scratch/err"; }; }
# Every line of metrics once, in order.
in_order() { [ "$(jq -s 'map(.step) | tostring' "$1/metrics.jsonl")" = '"[2,4,6,8,10,12]"' ] || fails "$2: lines of steps $(jq -s -c 'map(.step)' "$1/metrics.jsonl")"; }
last() { jq -s -r ".[-1] | \"$2\"" "$1/metrics.jsonl"; }

plain "$scratch/whole" || { cat "$scratch/err"; exit 1; }
whole=$(hash_of "$scratch/whole")

note "abort: 87, said once, nothing is changed on disk, and the same command goes on to the undisturbed bits"
for n in 1 2; do
  for point in slot.loss slot.gradient; do
    run=$scratch/abort-$n-$point
    broken $n $point 7 "$run"
    is 87 "abort on $n, $point"; says "^vjepa: error: step 7: loss" "abort on $n, $point"
    same "$(hash_of "$scratch/whole@4")" "$run" "what $n ranks leave on disk"
    "$VJEPA" checkpoint verify "$run" > "$scratch/out" || fails "the checkpoint is not valid"
    [ "$(ls "$run/ckpt" | grep -c step-)" = 1 ] || fails "a checkpoint was written: $(ls "$run/ckpt")"
    [ "$(ls "$run" | grep -c nonfinite-step-7)" = $n ] || fails "not every rank says which samples"
    plain "$run" || { fails "going on after an abort"; cat "$scratch/err"; }
    same "$whole" "$run" "after an abort on $n"
  done
done

note "skip: the update is left out, the data goes on"
broken 1 slot.gradient 7 "$scratch/skip" train.nonfinite=skip; is 0 skip
skip=$(hash_of "$scratch/skip")
differ "$whole" "$scratch/skip" "a skipped step"
[ "$(last "$scratch/skip" '\(.adam_step) \(.cursor) \(.skipped_steps)')" = "11 96 1" ] || fails "skip: $(last "$scratch/skip" '\(.adam_step) \(.cursor) \(.skipped_steps)')"
for n in 2 4; do
  for point in slot.loss slot.gradient; do
    broken $n $point 7 "$scratch/skip-$n-$point" train.nonfinite=skip; is 0 "skip on $n"; says "weights unchanged" "skip on $n"
    same "$skip" "$scratch/skip-$n-$point" "skip on $n ranks, $point"
  done
done

# planted RUN STEP FIRST SAMPLES: no step is broken, but rollbacks.jsonl says from STEP on that these samples are left out.
planted() {
  plain "$1" --steps "$2" "${@:5}" || { fails "$1"; cat "$scratch/err"; }
  echo "{\"run_id\":$(jq .run_id "$1/run.json"),\"step\":0,\"to_step\":0,\"first\":$3,\"samples\":$4}" > "$1/rollbacks.jsonl"
  plain "$1" "${@:5}" || { fails "$1"; cat "$scratch/err"; }
}
note "rollback: to the newest checkpoint, without the samples of the step: the bits of a run that never had them"
planted "$scratch/never" 4 48 8
never=$(hash_of "$scratch/never")
differ "$whole" "$scratch/never" "other samples"
for n in 1 2 4; do
  for point in slot.loss slot.gradient; do
    run=$scratch/back-$n-$point
    broken $n $point 7 "$run" train.nonfinite=rollback; is 0 "rollback on $n"
    says "back to the checkpoint of step 4; samples 48 to 55 are left out (1 of at most 3" "rollback on $n"
    same "$never" "$run" "rollback on $n ranks, $point"
    in_order "$run" "rollback on $n"
    [ "$(last "$run" '\(.adam_step) \(.cursor) \(.rollbacks)')" = "12 104 1" ] || fails "rollback on $n: $(last "$run" '\(.adam_step) \(.cursor) \(.rollbacks)')"
    [ "$(tail -n +2 "$run/log_r0.csv" | wc -l)" = 12 ] || fails "rollback on $n: not 12 lines in log_r0.csv"
  done
done
for mode in zero2 fsdp; do
  broken 2 slot.gradient 7 "$scratch/back-$mode" train.nonfinite=rollback parallel.mode=$mode; is 0 "rollback, $mode"
  same "$never" "$scratch/back-$mode" "rollback with $mode"
done
# An earlier checkpoint again, without a broken step: the samples stay left out.
rm -r "$run/ckpt/step-00000008" "$run/ckpt/step-00000012"; echo step-00000004 > "$run/ckpt/LATEST"
plain "$run" train.nonfinite=abort || { fails "resuming before the gap"; cat "$scratch/err"; }
says "samples 48 to 55 are left out" "resuming before the gap"
same "$never" "$run" "resumed before the gap"

note "more batches than one, at most those behind the checkpoint"
planted "$scratch/never-2" 4 40 16
broken 2 slot.gradient 7 "$scratch/back-k2" train.nonfinite=rollback train.rollback_steps=2; is 0 "two batches"
same "$(hash_of "$scratch/never-2")" "$scratch/back-k2" "two batches"
planted "$scratch/never-3" 4 32 24
broken 1 slot.gradient 7 "$scratch/back-k9" train.nonfinite=rollback train.rollback_steps=9; is 0 "all behind the checkpoint"
same "$(hash_of "$scratch/never-3")" "$scratch/back-k9" "all behind the checkpoint"

note "before the first checkpoint: the beginning, with moments of zero"
planted "$scratch/never-0" 2 16 8
for n in 1 2; do
  broken $n slot.gradient 3 "$scratch/back-0-$n" train.nonfinite=rollback; is 0 "to the beginning on $n"
  says "back to the beginning, step 0" "to the beginning on $n"
  same "$(hash_of "$scratch/never-0")" "$scratch/back-0-$n" "to the beginning on $n"
done

note "across the border of stages, back into the first"
stages=(stages.from='[0, 5]' stages.crop='[32, 48]' checkpoint.every=4)
planted "$scratch/never-s" 4 48 8 "${stages[@]}"
broken 2 slot.gradient 7 "$scratch/back-s" train.nonfinite=rollback "${stages[@]}"; is 0 "stages"
same "$(hash_of "$scratch/never-s")" "$scratch/back-s" "across a border of stages"

note "a run that never gets finite ends: 87 after train.rollback_max, and again when it is started again"
for n in 1 2; do
  status=0; ranks $n "$VJEPA" pretrain quickstart --run "$scratch/never-ends" "data.dir=$shards" "${small[@]}" "${base[@]}" optim.lr=1e36 optim.start_lr=1e36 \
    optim.warmup=0 train.nonfinite=rollback train.rollback_max=2 > "$scratch/out" 2> "$scratch/err" || status=$?
  is 87 "too many rollbacks, start $n"; says "went back to step 0 2 times already" "too many rollbacks, start $n"
done
[ "$(wc -l < "$scratch/never-ends/rollbacks.jsonl")" = 2 ] || fails "not two rollbacks: $(cat "$scratch/never-ends/rollbacks.jsonl")"

note "a rollbacks.jsonl of another run, and one that is damaged"
plain "$scratch/other" --steps 4
echo '{"run_id":"x","step":7,"to_step":4,"first":48,"samples":8}' > "$scratch/other/rollbacks.jsonl"
plain "$scratch/other" || { fails "another run's gaps"; cat "$scratch/err"; }
same "$whole" "$scratch/other" "another run's gaps"
echo '{"run_id":"x","step":1,"to_step":0,"first":0,"samples":3}' > "$scratch/whole/rollbacks.jsonl"
status=0; plain "$scratch/whole" || status=$?
is 2 "a damaged rollbacks.jsonl"; says "whole batches of 8" "a damaged rollbacks.jsonl"
exit $((failures > 0))
