# label: slow
# A run in stages: each has its own clips, and a kill anywhere, on both sides of a border too, changes no bit.
source tests/support/train_fixture.sh
make_shards

stages=(train.steps=24 optim.warmup=4 checkpoint.every=4 log.every=4 held_out.every=8 held_out.samples=4 held_out.constant=4
        'stages.from=[0,8,17]' 'stages.crop=[32,48,64]' 'stages.frames=[4,8,4]' 'stages.group=[1,2,4]' 'stages.fps=[4,6,4]')
run() { train_small "$1" "${stages[@]}" "${@:2}" > "$scratch/out" 2> "$scratch/err" || { fails "train: $*"; cat "$scratch/err"; }; }

run "$scratch/whole"
want=$("$VJEPA" checkpoint hash "$scratch/whole")

note "each stage says itself, in the log and in the metrics"
grep -q "step 8: stage 2 of 3 begins: 8 frames x 48 px at 6 frames a second, 2 slots of 2" "$scratch/err" || { fails "stage 2 is not said"; cat "$scratch/err"; }
grep -q "step 17: stage 3 of 3 begins: 4 frames x 64 px at 4 frames a second, 1 slots of 4" "$scratch/err" || fails "stage 3 is not said"
for at in "4 1" "8 1" "12 2" "16 2" "20 3" "24 3"; do
  grep -q "\"step\":${at% *},.*\"stage\":${at#* }," "$scratch/whole/metrics.jsonl" || fails "step ${at% *} is not in stage ${at#* }"
done
[ "$(grep -c '"held_out"' "$scratch/whole/metrics.jsonl")" = 3 ] || fails "not three held-out figures"

note "the first stage is the run that has no other"
train_small "$scratch/plain" "${stages[@]:0:7}" data.fps=4 --steps 8 > /dev/null 2>&1
run "$scratch/first" --steps 8
[ "$("$VJEPA" checkpoint hash --per-tensor "$scratch/plain")" = "$("$VJEPA" checkpoint hash --per-tensor "$scratch/first")" ] ||
  fails "8 steps of stage 1 are not 8 steps of the run without stages"

note "stopped in, before, at and after borders; 2 threads; another device"
for at in 3 8 9 16 17 18; do run "$scratch/pieces" --steps $at; done
run "$scratch/pieces" threads=2
[ "$("$VJEPA" checkpoint hash "$scratch/pieces")" = "$want" ] || fails "in pieces the hash is another"
run "$scratch/far" device=far
[ "$("$VJEPA" checkpoint hash "$scratch/far")" = "$want" ] || fails "device=far gives another hash"

note "other stages are another run"
status=0; train_small "$scratch/whole" "${stages[@]}" 'stages.crop=[32,48,48]' > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 2 ] && grep -q "stages.crop" "$scratch/err" || { fails "other stages: exit $status"; cat "$scratch/err"; }

note "a cooldown in stages from a run without"
train_small "$scratch/parent" --steps 20 > /dev/null 2>&1
"$VJEPA" cooldown quickstart-cooldown --from "$scratch/parent" --run "$scratch/cool" "data.dir=$shards" "${small[@]}" "${stages[@]}" \
  optim.warmup=0 > "$scratch/out" 2> "$scratch/err" || { fails "a cooldown in stages"; cat "$scratch/err"; }
grep -q "stage 3 of 3" "$scratch/err" || fails "the cooldown did not reach stage 3"

[ $failures = 0 ]
