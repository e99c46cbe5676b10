# label: mpi
# Damaged data on ranks: a source's ceiling of bad samples is one for all ranks. Too many end the run with 65 at the same step and the
# same bits on 1, 2 and 4 ranks, said once, with what was trained until then in a checkpoint; fewer are stood in for, and counted.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_videos "$scratch/videos"   # windows of a second: enough rows for a bad one to be met late
"$VJEPA" data pack --out "$shards" --source "made=$scratch/videos" --window 1 --recode 64 --hold-out 0.2 > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }

base=(train.batch=4 train.steps=12 checkpoint.every=5 log.every=2 threads=1)
hash_of() { "$VJEPA" checkpoint hash "$1"; }
damaged() {   # damaged DIR TENTHS...: a copy of the shards with bytes changed at these tenths of the training shard
  local dir=$1 file size at; shift
  mkdir -p "$dir"; cp -r "$shards" "$dir/shards"
  file=$(ls -S "$dir"/shards/*.h5 | grep -v held | head -n 1); size=$(stat -c %s "$file")
  for at in "$@"; do printf 'damaged!' | dd of="$file" bs=1 seek=$((size * at / 10)) conv=notrunc status=none; done
}
# on DIR N RUN WORDS...: N ranks in DIR, whose shards they read; DIR "A|B": rank 0 in A, the others in B.
on() {
  local dir=$1 n=$2 run=$3 apps=(); shift 3
  local command=("$VJEPA" pretrain quickstart --run "$run" data.dir=shards "${small[@]}" "${base[@]}" "$@")
  case $dir in
    *"|"*) apps=(-np 1 -wdir "${dir%|*}" "${command[@]}" : -np $((n - 1)) -wdir "${dir#*|}" "${command[@]}") ;;
    *) apps=(-np "$n" -wdir "$dir" "${command[@]}") ;;
  esac
  status=0; timeout 120 mpirun --oversubscribe --bind-to none "${apps[@]}" > "$scratch/out" 2> "$scratch/err" || status=$?
}
is() { [ $status = "$1" ] || { fails "exit $status instead of $1: $2"; cat "$scratch/err"; }; }
once() { [ "$(grep -c "^vjepa: error: " "$scratch/err")" = 1 ] && grep -q "^vjepa: error: .*samples are bad, 3 are allowed" "$scratch/err" || { fails "not one message: $1"; cat "$scratch/err"; }; }
VJEPA=$(realpath "$VJEPA")
damaged "$scratch/few" 3 6
damaged "$scratch/many" 2 4 6 8
damaged "$scratch/most" 2 3 4 5 6 7 8
damaged "$scratch/good"

note "fewer than the ceiling"
on "$scratch/few" 1 "$scratch/few-1"; is 0 "few, one process"
few=$(hash_of "$scratch/few-1")
counts() { jq -e '.bad_samples >= 1 and .substituted_samples >= 1' "$1" > "$scratch/jq"; }   # exactly how many depends on how far threads are ahead
tail -n 1 "$scratch/few-1/metrics.jsonl" > "$scratch/line"; counts "$scratch/line" || { fails "no bad samples: the test damages nothing"; "$VJEPA" data verify "$scratch/few/shards"; }
for n in 2 4; do
  on "$scratch/few" $n "$scratch/few-$n"; is 0 "few on $n"
  [ "$(hash_of "$scratch/few-$n")" = "$few" ] || fails "other bits on $n ranks"
  counts "$scratch/few-$n/summary.json" || fails "the summary of $n ranks counts none"
done
# Only the other rank meets bad samples; the lead's figures have them all the same.
on "$scratch/good|$scratch/few" 2 "$scratch/few-other"; is 0 "few on one rank"
tail -n 1 "$scratch/few-other/metrics.jsonl" > "$scratch/line"; counts "$scratch/line" && counts "$scratch/few-other/summary.json" ||
  fails "bad samples of another rank are not counted"

note "more than the ceiling, spread over the ranks"
on "$scratch/many" 1 "$scratch/many-1"; is 65 "many, one process"; once "one process"
"$VJEPA" checkpoint ls "$scratch/many-1" --json > "$scratch/ls" || true
many=$(hash_of "$scratch/many-1") || fails "nothing was kept"
note "ends behind step $(sed "s|.*step-0*||" "$scratch/many-1/ckpt/LATEST")"
for n in 2 4; do
  on "$scratch/many" $n "$scratch/many-$n"; is 65 "many on $n"; once "on $n"
  "$VJEPA" checkpoint verify "$scratch/many-$n" > "$scratch/out" || fails "no valid checkpoint of $n ranks"
  [ "$(hash_of "$scratch/many-$n")" = "$many" ] || fails "$n ranks end elsewhere: $(ls "$scratch/many-$n/ckpt") instead of $(ls "$scratch/many-1/ckpt")"
done
on "$scratch/many" 2 "$scratch/many-4"; is 65 "many, again"; once "again"
on "$scratch/many" 2 "$scratch/many-4" data.max_bad=1; is 0 "many, all allowed"

note "the data of one rank alone"
for mode in ddp fsdp; do
  on "$scratch/good|$scratch/most" 2 "$scratch/one-$mode" parallel.mode=$mode; is 65 "one rank, $mode"; once "one rank, $mode"
  grep -q "on rank 1 of 2" "$scratch/err" || { fails "$mode: the rank is not named"; cat "$scratch/err"; }
  "$VJEPA" checkpoint verify "$scratch/one-$mode" > "$scratch/out" || fails "$mode: no valid checkpoint"
  on "$scratch/good" 4 "$scratch/one-$mode" parallel.mode=$mode data.max_bad=1; is 0 "goes on, $mode"
done
exit $((failures > 0))
