# label: mpi slow
# Numbers of ranks that are no powers of two give other bits, the same ones every time, and the same training: in float64 50 steps within
# 1e-9 of one process (contracts 8). With parameters whose sizes nothing divides.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

odd=(model.width=44 model.hidden=90 model.pred_width=36 model.depth=3)
base=(train.batch=7 held_out.every=0 monitor.every=0 threads=1)
one() { "$VJEPA" pretrain quickstart --run "$scratch/$1" "data.dir=$shards" "${small[@]}" "${odd[@]}" "${base[@]}" "${@:2}" > "$scratch/out" 2>&1 || { fails "$1: exit $?"; cat "$scratch/out"; }; }
on() {   # on N NAME WORDS...
  ranks "$1" timeout 300 "$VJEPA" pretrain quickstart --run "$scratch/$2" "data.dir=$shards" "${small[@]}" "${odd[@]}" "${base[@]}" "${@:3}" > "$scratch/out" 2>&1 ||
    { fails "$2: exit $?"; cat "$scratch/out"; }
}

ref=(device=ref train.steps=50 log.every=1 checkpoint.every=50)
one ref "${ref[@]}"
for n in 3 5 6; do
  on $n ref$n "${ref[@]}" parallel.mode=fsdp
  on $n again "${ref[@]}" parallel.mode=fsdp
  [ "$("$VJEPA" checkpoint hash "$scratch/ref$n")" = "$("$VJEPA" checkpoint hash "$scratch/again")" ] || fails "$n ranks give other bits the second time"
  rm -rf "$scratch/again"
  "$VJEPA" checkpoint diff "$scratch/ref" "$scratch/ref$n" --tolerance 1e-9 --json > "$scratch/diff" || { fails "$n ranks: not within 1e-9"; cat "$scratch/diff"; }
  # Tensors whose sums have another order somewhere do differ: or the ranks would not have been there.
  [ "$(jq .worst_relative "$scratch/diff")" != 0 ] || note "$n ranks: every bit of one process"
  jq -es '(.[0:50] | map(.loss)) as $a | (.[50:100] | map(.loss)) as $b | [range(50) | ($a[.] - $b[.]) / $a[.] | if . < 0 then -. else . end] | max | . <= 1e-9' \
    "$scratch/ref/metrics.jsonl" "$scratch/ref$n/metrics.jsonl" > "$scratch/out" || fails "$n ranks: losses of 50 steps are not within 1e-9"
  note "$n ranks, float64, 50 steps: $(jq .worst_relative "$scratch/diff")"
done

# float32: the first step of one process, and bits where the number is a power of two.
one single --steps 1 log.every=1
one twenty train.batch=8 train.steps=20
for n in 3 5 6; do
  on $n first$n --steps 1 log.every=1 parallel.mode=fsdp
  jq -es '(.[0].loss - .[1].loss) / .[0].loss | . * . <= 1e-10' "$scratch/single/metrics.jsonl" "$scratch/first$n/metrics.jsonl" > "$scratch/out" || fails "$n ranks: loss"
  jq -es '(.[0].grad_norm - .[1].grad_norm) / .[0].grad_norm | . * . <= 4e-12' "$scratch/single/metrics.jsonl" "$scratch/first$n/metrics.jsonl" > "$scratch/out" ||
    fails "$n ranks: norm of the gradient"
done
for mode in zero2 fsdp; do
  on 8 eight train.batch=8 train.steps=20 parallel.mode=$mode
  [ "$("$VJEPA" checkpoint hash "$scratch/twenty")" = "$("$VJEPA" checkpoint hash "$scratch/eight")" ] || fails "8 ranks with $mode: other bits"
  rm -rf "$scratch/eight"
done

# Clipping by the norm over everything, wherever the parts are: replicas x shards give the bits of one process.
clip=(train.batch=8 train.steps=20 optim.clip_norm=0.02)
one clipped "${clip[@]}"
jq -es 'map(.grad_norm) | min > 0.02' "$scratch/clipped/metrics.jsonl" > "$scratch/out" || fails "nothing was clipped: $(jq -c .grad_norm "$scratch/clipped/metrics.jsonl")"
[ "$("$VJEPA" checkpoint hash "$scratch/clipped")" != "$("$VJEPA" checkpoint hash "$scratch/twenty")" ] || fails "clipping changes nothing"
for mesh in "4 parallel.mode=hsdp parallel.shard=2" "8 parallel.mode=hsdp parallel.shard=2" "8 parallel.mode=hsdp parallel.shard=4" "8 parallel.mode=zero2"; do
  read -r n words <<< "$mesh"
  # shellcheck disable=SC2086
  on "$n" mesh "${clip[@]}" $words
  [ "$("$VJEPA" checkpoint hash "$scratch/clipped")" = "$("$VJEPA" checkpoint hash "$scratch/mesh")" ] || fails "$mesh: other bits when clipped"
  rm -rf "$scratch/mesh"
done
exit $((failures > 0))
