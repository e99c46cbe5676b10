# label: slow
# Monitor figures of a small run: they stand in metrics.jsonl, are the same for every number of threads and device, and
# looking more often, at other clips or not at all changes no bit of what is trained.
source tests/support/train_fixture.sh
make_shards

run() { train_small "$1" train.steps=20 "${@:2}" > "$scratch/out" 2> "$scratch/err" || { fails "train: $*"; cat "$scratch/err"; }; }
hash_of() { "$VJEPA" checkpoint hash "$1"; }
figures() { jq -c '[.step, .monitor.spread, .monitor.rank, .monitor.cosine, .monitor.variance_ratio, .monitor.target_variance]' "$1/metrics.jsonl"; }

run "$scratch/off" monitor.every=0
grep -q '"monitor":' "$scratch/off/metrics.jsonl" && fails "figures with monitor.every=0"
want=$(hash_of "$scratch/off")

note "the figures, and what they may be"
run "$scratch/a" threads=1 log.every=5
[ "$(jq -s 'map(select(.monitor)) | length' "$scratch/a/metrics.jsonl")" = 4 ] || fails "not four lines with figures"
jq -e -s 'all(.[]; .monitor | .clips == 32 and .of_held_out and .spread > 0 and .rank >= 1 and .rank <= 32 and .cosine <= 1
            and .variance_ratio > 0 and .target_variance > 0 and .target_variance <= 1 and .seconds > 0)' \
  "$scratch/a/metrics.jsonl" > /dev/null || { fails "figures out of their range"; figures "$scratch/a"; }
jq -e -s 'all(.[]; .tokens_per_second / .samples_per_second == 32 and .mfu > 0 and .hfu == .mfu and .roof_flop_per_second > 1e6
            and (.grad_norm_units.encoder | length) == 4 and (.grad_norm_units.predictor | length) == 2
            and ((.grad_norm_units.encoder + .grad_norm_units.predictor | map(. * .) | add | sqrt) / .grad_norm - 1 | fabs) < 1e-9)' \
  "$scratch/a/metrics.jsonl" > /dev/null || { fails "rates or norms of units"; tail -n 1 "$scratch/a/metrics.jsonl"; }
[ "$(hash_of "$scratch/a")" = "$want" ] || fails "monitors changed the training"

note "other threads, another device, interrupted: the same figures"
run "$scratch/b" threads=2 log.every=5
[ "$(figures "$scratch/a")" = "$(figures "$scratch/b")" ] || fails "2 threads give other figures"
run "$scratch/far" device=far log.every=5
[ "$(figures "$scratch/a")" = "$(figures "$scratch/far")" ] || fails "device=far gives other figures"
run "$scratch/c" log.every=5 --steps 10
run "$scratch/c" log.every=5
[ "$(figures "$scratch/a")" = "$(figures "$scratch/c")" ] || fails "a resumed run gives other figures"

note "more often, and at other clips"
run "$scratch/d" monitor.every=1 monitor.clips=5 mask.group=1
[ "$(jq -s 'map(select(.monitor.clips == 5)) | length' "$scratch/d/metrics.jsonl")" = 20 ] || fails "not twenty lines with figures of 5 clips"
[ "$(hash_of "$scratch/d")" = "$want" ] || fails "monitors of every step changed the training"

note "no held-out windows: training clips, and it is said"
shards=$scratch/all
"$VJEPA" data pack --out "$shards" --source "made=$scratch/videos" --window 3 --recode 64 > "$scratch/pack.log" 2>&1
run "$scratch/e"
grep -q "monitors look at training clips" "$scratch/err" || fails "training clips are not said"
jq -e -s 'all(.[]; .monitor.of_held_out == false)' "$scratch/e/metrics.jsonl" > /dev/null || fails "of_held_out without held-out windows"
exit $((failures > 0))
