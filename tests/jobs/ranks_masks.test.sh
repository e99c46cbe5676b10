# label: mpi
# mask.truncate on ranks: global and fixed give one result on 1, 2 and 4 ranks; rank is that of slot where each rank has one slot, another
# one elsewhere, and says so.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

base=(train.steps=6 optim.warmup=2 train.batch=8 mask.group=2 data.crop=64 checkpoint.every=6 checkpoint.keep=1
      log.every=6 held_out.every=6 held_out.samples=2 held_out.constant=2 threads=1)
on() {   # on N RUN WORDS...: prints the hash
  local n=$1 run=$scratch/$2; shift 2
  ranks "$n" timeout 300 "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" "${base[@]}" "$@" \
    > "$scratch/out" 2> "$scratch/err" || { echo "FAIL: $n ranks, $*: exit $?" >&2; cat "$scratch/err" >&2; return 0; }
  "$VJEPA" checkpoint hash "$run"
}

slot=$(on 1 slot)
for mode in global fixed; do
  one=$(on 1 "$mode" mask.truncate=$mode)
  [ -n "$one" ] && [ "$one" != "$slot" ] || fails "$mode is slot: $one"
  for n in 2 4; do
    got=$(on $n "$mode-$n" mask.truncate=$mode)
    [ "$got" = "$one" ] || fails "$mode on $n ranks: $got instead of $one"
  done
done
# Another number of ranks from step 3 on.
on 4 moved mask.truncate=global --steps 3 > "$scratch/hash"
got=$(on 2 moved mask.truncate=global)
[ "$got" = "$("$VJEPA" checkpoint hash "$scratch/global")" ] || fails "global, 4 ranks, then 2: $got"

# All samples of a rank are one group.
on 4 rank-4 mask.truncate=rank > "$scratch/hash"
[ "$(cat "$scratch/hash")" = "$slot" ] || fails "a rank's only slot is not all its samples: $(cat "$scratch/hash") instead of $slot"
[ "$(grep -c "over all samples of a rank, of 4 now" "$scratch/err")" = 1 ] ||
  { fails "no message, or several, on the number of ranks"; cat "$scratch/err"; }
two=$(on 2 rank-2 mask.truncate=rank)
again=$(on 2 rank-2-again mask.truncate=rank)
one=$(on 1 rank-1 mask.truncate=rank)
[ -n "$two" ] && [ "$two" = "$again" ] || fails "rank on 2 ranks, twice: $two, $again"
[ "$two" != "$slot" ] && [ "$two" != "$one" ] || fails "rank does not depend on the number of ranks"
# Alone, all samples of the step are one group.
[ "$one" = "$("$VJEPA" checkpoint hash "$scratch/global")" ] || fails "rank on one rank is not global: $one"


# Room for activations is what config check counts, from masks that are drawn ahead, and grows where longer ones come (with this seed
# once, and so on one of two ranks): no bit changes.
export VJ_LOG=debug
room=(seed=3 train.steps=12 mask.group=1 data.crop=48 'data.fpc=[8]' 'mask.blocks=[12]' 'mask.spatial_low=[0.05]' 'mask.spatial_high=[0.15]'
      'mask.temporal_low=[0.05]' 'mask.temporal_high=[1]' 'mask.aspect_low=[0.75]' 'mask.aspect_high=[1.5]'
      'mask.max_temporal_keep=[1]' 'mask.max_keep=[0]')
one=$(on 1 room "${room[@]}")
grep -q "masks are longer than any before, the model takes" "$scratch/err" || { fails "nothing grew"; cat "$scratch/err"; }
said=$(sed -nE 's/.*, ([0-9.]+) MB for the model.*/\1/p' "$scratch/err")
"$VJEPA" config check quickstart --json "data.dir=$shards" "${small[@]}" "${base[@]}" "${room[@]}" > "$scratch/check.json" 2> "$scratch/err"
counted=$(jq -r '.memory_bytes | (.total - .loader - .held_out - .monitors - .save_copy) / 1e6' "$scratch/check.json")
awk -v a="$said" -v b="$counted" 'BEGIN { exit !(a > b - 0.06 && a < b + 0.06) }' ||
  fails "training reserves $said MB for the model, config check counts $counted MB"
two=$(on 2 room-2 "${room[@]}")
[ -n "$one" ] && [ "$one" = "$two" ] || fails "room that grows: $one, on 2 ranks $two"
exit $((failures > 0))
