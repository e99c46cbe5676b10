# label: unit
# What ranks send each other in a slot, as `vjepa config schedule` prints it: what must hold of its order (parallel/schedule.h).
set -euo pipefail
failures=0
fails() { printf 'FAIL: %s\n' "$*"; failures=$((failures + 1)); }
of() { "$VJEPA" config schedule quickstart parallel.ranks=8 "$@"; }
count() { grep -c "$1" <<< "$list" || true; }

for prefetch in 1 2 3; do
  list=$(of parallel.mode=fsdp parallel.prefetch=$prefetch parallel.reshard_after_forward=always)
  # In the backward pass the next unit's gather is asked for before this one's reduction (the last units are there from the forward pass).
  for ((i = 6 - prefetch; i >= 1; i--)); do
    awk -v reduce="reduce-scatter encoder blocks.$i " -v gather="all-gather encoder blocks.$((i - 1)) " '
      index($0, gather) { asked = NR } index($0, reduce) { found = 1; early = asked && asked < NR && asked > 30 } END { exit !(found && early) }' <<< "$list" ||
      fails "prefetch $prefetch: blocks.$i is reduced before blocks.$((i - 1)) is asked for"
  done
  # Nothing is used before it was asked for, and waited for.
  awk '$2 == "gather" && !index($0, "wait for " $3 " " $4) { bad = 1 } END { exit bad }' <<< "$list" || fails "prefetch $prefetch: a use that does not wait"
  [ "$(count 'reduce-scatter, wait')" = 0 ] || fails "prefetch $prefetch: a reduction is waited for at once"
  # How far ahead: the target encoder's second unit behind the first is asked for with the first from 2 on.
  [ "$(sed -n '3p' <<< "$list" | grep -o 'all-gather' | wc -l)" = $((prefetch + 1)) ] || fails "prefetch $prefetch: $(sed -n 3p <<< "$list")"
done
list=$(of parallel.mode=fsdp parallel.prefetch=0 parallel.reshard_after_forward=always)
[ "$(count 'reduce-scatter, wait')" = 10 ] && [ "$(count 'reduce-scatter ')" = 0 ] || fails "prefetch 0: a reduction beside computing"
awk 'index($0, "all-gather") && $2 != "gather" { bad = 1 } END { exit bad }' <<< "$list" || fails "prefetch 0: a gather beside computing"
# Every unit of the student twice, but for those that stand in the room from the forward pass; once when kept.
[ "$(count 'all-gather encoder blocks.0 ')" = 2 ] || fails "always: blocks.0 is not gathered twice"
list=$(of parallel.mode=fsdp parallel.reshard_after_forward=never)
for u in patch_embed blocks.0 blocks.5 norm; do [ "$(count "all-gather encoder $u ")" = 1 ] || fails "never: $u is not gathered once"; done
[ "$(count 'all-gather target_encoder blocks.3 ')" = 1 ] || fails "never: the target encoder is not gathered once"
list=$(of parallel.mode=hsdp parallel.shard=4 parallel.reshard_after_forward=2)
[ "$(count 'all-gather kept encoder blocks.0 ')" = 1 ] && [ "$(count 'keep a part of encoder blocks.0')" = 1 ] || fails "2: no part is kept"
for mode in ddp zero2; do
  list=$(of parallel.mode=$mode)
  [ "$(count all-gather)" = 0 ] && [ "$(count 'reduce-scatter ')" = 10 ] || fails "$mode: $list"
done
exit $((failures > 0))
