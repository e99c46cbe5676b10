# A run that is killed behind its newest checkpoint and continued: log_r0.csv has every step once, TensorBoard's new file
# withdraws what is computed again, Prometheus' file is the newest line, and the keys switch them off.
source tests/support/train_fixture.sh
make_shards
run=$scratch/run
words=(held_out.every=5 log.epoch=8 train.steps=20 optim.warmup=2)
train_small "$run" "${words[@]}" --steps 10 > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
status=0
VJ_FAULT=kill@checkpoint.before_rename:1 train_small "$run" "${words[@]}" checkpoint.every=1000 > "$scratch/log" 2>&1 || status=$?
[ $status -eq 137 ] || { fails "exit $status instead of a kill"; cat "$scratch/log"; }
[ "$(tail -n 1 "$run/log_r0.csv" | cut -d , -f 1,2)" = 3,3 ] || fails "the killed start did not come to step 20"
touch "$run/status.json.tmp-1" "$run/kept.tmp-x"   # what a kill inside a write leaves, and a file that is not ours
train_small "$run" "${words[@]}" --steps 15 > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }

[ "$(head -n 1 "$run/log_r0.csv")" = "epoch,itr,loss,iter-time(ms),gpu-time(ms),dataload-time(ms)" ] || fails "log_r0.csv: other columns"
want=$(for step in $(seq 0 14); do echo "$((step / 8 + 1)),$((step % 8))"; done)
[ "$(tail -n +2 "$run/log_r0.csv" | cut -d , -f 1,2)" = "$want" ] || { fails "log_r0.csv: not steps 1 to 15, once each"; cat "$run/log_r0.csv"; }
grep -qvE '^([0-9]+,[0-9]+,[0-9]+\.[0-9]{5},[0-9]+,[0-9]+,[0-9]+|epoch.*)$' "$run/log_r0.csv" && fails "log_r0.csv: an odd line"
loss=$(tail -n 1 "$run/metrics.jsonl" | jq -r .loss_last)
[ "$(tail -n 1 "$run/log_r0.csv" | cut -d , -f 3)" = "$(printf %.5f "$loss")" ] || fails "log_r0.csv and metrics.jsonl name other losses"

# A step's time is that of its computing: the first batch, which is waited for, must not be in it.
want=$(sed -n 2,11p "$run/log_r0.csv" | cut -d , -f 5 | jq -s add)
got=$(jq -r 'select(.step == 5 or .step == 10) | .step_seconds * 5000 | floor' "$run/metrics.jsonl" | jq -s add)
[ $((got - want)) -ge -2 ] && [ $((got - want)) -le 12 ] || fails "step_seconds is $got ms in 10 steps, the csv's gpu-time $want ms"

mapfile -t boards < <(ls "$run"/tb/events.out.tfevents.*)
[ ${#boards[@]} = 3 ] || fails "${#boards[@]} event files instead of 3"
restart=$(printf '\x10\x0b\x3a\x02\x08\x01')   # step 11, a session log of status START
grep -qaF "$restart" "${boards[0]}" && fails "the first start says that it is a restart"
grep -qaF "$restart" "${boards[2]}" || fails "the third start does not withdraw steps from 11 on"
[ "$(stat -c %s "${boards[1]}")" -lt 100 ] || fails "the killed start's event file is not cut"
grep -qaF train/loss "${boards[0]}" && grep -qaF held_out/ratio "${boards[0]}" || fails "no scalars in TensorBoard's file"

prom=$run/metrics.prom
name='[a-zA-Z_][a-zA-Z0-9_]*' label='[a-z_]+="([^"\\]|\\.)*"'
grep -vE "^# (HELP $name .+|TYPE $name gauge)$|^$name\{$label(,$label)*\} (NaN|[-+]?[0-9.]+(e[-+]?[0-9]+)?)$" "$prom" && fails "metrics.prom: a line that is none"
[ -z "$(grep '^# TYPE' "$prom" | sort | uniq -d)" ] || fails "metrics.prom: a metric twice"
grep -qx 'vjepa_step{run="run",phase="pretrain"} 15' "$prom" || fails "metrics.prom is not of step 15"
grep -q '^vjepa_held_out_ratio{run="run",phase="pretrain"} [0-9]' "$prom" || fails "metrics.prom: no held-out ratio"
[ "$(ls "$run" | grep tmp)" = kept.tmp-x ] || fails "a temporary file is left, or somebody's file is gone"

train_small "$scratch/off" --steps 2 log.tensorboard=false log.csv=false log.prometheus= > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
for file in tb log_r0.csv metrics.prom; do [ ! -e "$scratch/off/$file" ] || fails "$file is there though it is switched off"; done
exit $((failures > 0))
