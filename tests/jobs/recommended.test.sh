# label: slow
# RUN@recommended: a run names the checkpoint to cool down from, keeps it, and it is taken everywhere; a run that collapses
# warns, once, and recommends what it had before.
source tests/support/train_fixture.sh
make_shards

run() { train_small "$1" "${@:2}" > "$scratch/out" 2> "$scratch/err" || { fails "train: $*"; cat "$scratch/err"; }; }
recommended() { jq -r '.recommended.step' "$1/run.json"; }
# In 60 steps little is learned: that it is little is not to be warned of here. (The videos' paths give the draws: no two runs of
# this test are alike.)
calm=(train.steps=60 held_out.every=10 held_out.samples=8 held_out.constant=16 checkpoint.keep=1
      monitor.held_out_high=0 monitor.variance_ratio_low=0 monitor.rank_fall=0 monitor.loss_rise=0 monitor.encoder_gradient_low=0)

note "nothing is recommended in the warm-up"
a=$scratch/a
run "$a" "${calm[@]}" --steps 9
[ "$(recommended "$a")" = null ] || fails "step $(recommended "$a") of the warm-up is recommended"
status=0; "$VJEPA" checkpoint show "$a@recommended" > /dev/null 2> "$scratch/err" || status=$?
[ $status = 2 ] && grep -q "no checkpoint of the constant phase yet" "$scratch/err" || { fails "exit $status"; cat "$scratch/err"; }
before=$(jq -c 'del(.recommended)' "$a/run.json")

note "one of the constant phase is, and it is there"
run "$a" "${calm[@]}" monitor.noise=0
step=$(recommended "$a")
jq -r .recommended.why "$a/run.json"
[ "$step" -ge 10 ] && [ -f "$a/ckpt/step-$(printf %08d "$step")/manifest.json" ] || fails "recommended: $step"
best=$(jq -s '[.[] | select(.held_out and .step >= 10)] | min_by(.held_out.ratio) | .step' "$a/metrics.jsonl")
[ "$step" = "$best" ] || fails "step $step is recommended, the best is $best"
jq -e '.recommended | .held_out_step == .step and (.why | contains("no warning is in force"))' "$a/run.json" > /dev/null || fails "run.json"
[ "$(jq -c 'del(.recommended)' "$a/run.json")" = "$before" ] || fails "the recommendation changed other members of run.json"
[ "$("$VJEPA" checkpoint hash "$a@recommended")" = "$("$VJEPA" checkpoint hash "$a@$step")" ] || fails "hash"
"$VJEPA" checkpoint show --json "$a@recommended" | jq -e --argjson s "$step" '.step == $s' > /dev/null || fails "checkpoint show"
"$VJEPA" checkpoint verify "$a@recommended" > /dev/null || fails "checkpoint verify"

note "a cooldown from it; the same command continues it even when the run recommends another one by then"
cool=("${small[@]}" train.steps=8 optim.schedule=linear_decay optim.final_lr=1e-6 checkpoint.every=4)
cooldown() { "$VJEPA" cooldown quickstart-cooldown --from "$a@recommended" --run "$scratch/cool" "data.dir=$shards" "${cool[@]}" "$@" > "$scratch/out" 2> "$scratch/err" || {
  fails "cooldown $*"; cat "$scratch/err"; }; }
cooldown --steps 4
[ "$(jq .parent_step "$scratch/cool/run.json")" = "$step" ] || fails "the cooldown began elsewhere"
other=$("$VJEPA" checkpoint ls --json "$a" | jq --argjson s "$step" '[.checkpoints[].step | select(. != $s)][-1] // $s')
jq --argjson s "$other" '.recommended.step = $s' "$a/run.json" > "$scratch/new" && cp "$scratch/new" "$a/run.json"
cooldown
[ "$(jq .parent_step "$scratch/cool/run.json")" = "$step" ] || fails "the cooldown changed its parent"
jq -e 'has("recommended") | not' "$scratch/cool/run.json" > /dev/null || fails "a cooldown recommends"

note "a collapse: warned of once, in the log, in warnings.jsonl and in metrics.jsonl, through a stop too"
b=$scratch/b
# Learning rate 30 times the quickstart's after a warm-up of a third of the run, and a target that follows at once.
bad=(train.steps=120 optim.warmup=40 optim.lr=1.8e-2 optim.final_lr=1.8e-2 optim.ema_start=0.9 optim.ema_end=0.9 log.every=5)
run "$b" "${bad[@]}"
grep "monitor WARN" "$scratch/err" | head -n 3
[ -s "$b/warnings.jsonl" ] || fails "no warning"
first=$(jq -s '.[0].step' "$b/warnings.jsonl")
jq -e -s --argjson s "$first" 'all(.[]; (.warnings | length > 0) or .step < $s) and any(.[]; .step == $s and (.warnings | length > 0))' \
  "$b/metrics.jsonl" > /dev/null || fails "metrics.jsonl does not say the warnings in force"
jq -e -s 'group_by(.name) | all(.[]; [.[].state] as $s | all(range($s | length); $s[.] == (if . % 2 == 0 then "begins" else "ends" end)))' \
  "$b/warnings.jsonl" > /dev/null || { fails "a warning begins twice without an end"; cat "$b/warnings.jsonl"; }
[ "$(grep -c "monitor WARN step" "$scratch/err")" = "$(jq -s 'map(select(.state == "begins")) | length' "$b/warnings.jsonl")" ] || fails "log and file differ"
for at in 25 60; do run "$scratch/c" "${bad[@]}" --steps $at; done
run "$scratch/c" "${bad[@]}"
cmp "$b/warnings.jsonl" "$scratch/c/warnings.jsonl" || fails "a run in pieces warns otherwise"
jq -e '(.recommended.step == null or .recommended.step < '"$first"') and (.recommended.why | contains("began at step") or contains("is in force since"))' \
  "$b/run.json" > /dev/null || { fails "recommended in spite of warnings"; cat "$b/run.json"; }
exit $((failures > 0))
