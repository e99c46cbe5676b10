# label: mpi slow
# One result: the hash of one process after 20 steps, for every pair of two settings out of ranks, mode, prefetch, resharding, threads,
# kind of save and carrier. COVER=all runs all combinations of the first four and threads and saves instead (about an hour).
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

base=(model.depth=5 model.pred_depth=6 train.steps=20 train.batch=8 checkpoint.every=10 log.every=20 held_out.every=20 held_out.samples=4 held_out.constant=4)
settings=(ranks=2,4,8 mode=ddp,zero2,fsdp,hsdp prefetch=0,1,2,3 threads=1,2 save=false,true)
if [ "${COVER:-pairs}" = all ]; then rows=$(python3 tests/support/pairwise.py --all "${settings[@]}" --not ranks=2 mode=hsdp)
else rows=$(python3 tests/support/pairwise.py "${settings[@]}" reshard=always,never,2,auto shared=true,false --not ranks=2 mode=hsdp); fi

"$VJEPA" pretrain quickstart --run "$scratch/one" "data.dir=$shards" "${small[@]}" "${base[@]}" threads=1 > "$scratch/out" 2>&1 || { fails "one process"; cat "$scratch/out"; }
want=$("$VJEPA" checkpoint hash "$scratch/one")
figures() { jq -s 'map([.step, .loss, .grad_norm, .held_out.loss, (.monitor | if . then del(.seconds) else . end)]) | tostring' "$1/metrics.jsonl"; }
of_one=$(figures "$scratch/one")
n=0
while read -r row; do
  ranks= mode= prefetch= threads= save= reshard=auto shared=true
  for word in $row; do declare "$word"; done
  words=(parallel.mode=$mode parallel.prefetch=$prefetch threads=$threads checkpoint.async=$save parallel.shared_memory=$shared)
  [ $mode = hsdp ] && words+=(parallel.shard=$((ranks / 2)))
  words+=(parallel.reshard_after_forward=$reshard)
  run=$scratch/run
  ranks "$ranks" timeout 300 "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" "${base[@]}" "${words[@]}" > "$scratch/out" 2> "$scratch/err" < /dev/null ||
    { fails "$row: exit $?"; cat "$scratch/err"; }
  got=$("$VJEPA" checkpoint hash "$run") || got=none
  [ "$got" = "$want" ] || fails "$row: $got instead of $want"
  [ "$(figures "$run")" = "$of_one" ] || fails "$row: other figures in metrics.jsonl"
  rm -rf "$run"
  n=$((n + 1))
done <<< "$rows"
note "$n combinations, hash $want each"
[ $n -ge 15 ] || fails "only $n combinations"
exit $((failures > 0))
