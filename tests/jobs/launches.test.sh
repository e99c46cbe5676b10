# label: slow
# Two launches never share a run directory: two at once, a living holder, kill -9 and takeover, a stolen lock, another machine's lock.
source tests/support/train_fixture.sh
make_shards

expect() {   # expect CODE PATTERN COMMAND...: exit code, a piece of stderr, at most one message
  local code=$1 pattern=$2 status=0; shift 2
  "$@" > "$scratch/out" 2> "$scratch/err" || status=$?
  [ $status -eq "$code" ] || { fails "exit $status instead of $code: $*"; cat "$scratch/err"; }
  grep -q -- "$pattern" "$scratch/err" || { fails "no '$pattern' in the messages of: $*"; cat "$scratch/err"; }
  [ "$(grep -c '^vjepa: ' "$scratch/err")" = $((code != 0)) ] || { fails "not one message: $*"; cat "$scratch/err"; }
}
launch() { exec "$VJEPA" pretrain quickstart "data.dir=$shards" "${small[@]}" train.steps=100000 checkpoint.every=100000 "$@"; }
start() { (launch "$@"); }   # in the background `launch`: its process is ours
trap 'kill -KILL $(jobs -p) 2> /dev/null || true; rm -rf "$scratch"' EXIT
wait_for() { for _ in $(seq 600); do "$@" && return 0; sleep 0.05; done; fails "never came: $*"; return 1; }
trains() { [ -s "$1/metrics.jsonl" ]; }

note "two at once, again and again: one trains, the other is refused"
won=0
for i in 1 2 3 4 5 6; do
  run=$scratch/two-$i
  launch --run "$run" > "$scratch/out1" 2> "$scratch/err1" & one=$!
  launch --run "$run" > "$scratch/out2" 2> "$scratch/err2" & two=$!
  wait_for trains "$run" || break
  # The refused one ends by itself; the other is killed, so that nothing is released.
  wait_for eval "! kill -0 $one 2> /dev/null || ! kill -0 $two 2> /dev/null"
  if kill -0 $one 2> /dev/null; then winner=$one loser=$two err=$scratch/err2; else winner=$two loser=$one err=$scratch/err1; fi
  kill -0 $winner 2> /dev/null && won=$((won + 1))
  status=0; wait $loser || status=$?
  [ $status = 2 ] && grep -q "another process trains in this directory: pid $winner on $(hostname)" "$err" || { fails "the loser: exit $status"; cat "$err"; }
  expect 2 "pid $winner" start --run "$run" --fresh   # never moved away under a running process
  kill -KILL $winner; wait $winner 2> /dev/null || true
done
[ $won = 6 ] || fails "$won of 6 trained on"

note "kill -9, then the same command"
expect 0 "is taken over: its process is gone" start --run "$run" --steps 5
expect 0 "" start --run "$run" --steps 7   # released: nothing to say
grep -q '"state":"released"' "$run/lock" || fails "not released: $(cat "$run/lock")"
[ "$(cd "$run" && echo lock*)" = lock ] || fails "left over: $(cd "$run" && echo lock*)"

note "a cooldown holds its own directory, and only reads the parent's, which is in use"
launch --run "$run" log.every=5000 monitor.every=0 > "$scratch/out1" 2> "$scratch/err1" & one=$!
held() { grep -q '"state":"held"' "$1/lock" 2> /dev/null; }
wait_for held "$run"
expect 0 "" "$VJEPA" cooldown quickstart-cooldown --from "$run" --run "$scratch/cool" "data.dir=$shards" "${small[@]}" train.steps=2 optim.warmup=0 \
  optim.schedule=linear_decay optim.final_lr=1e-6
"$VJEPA" watch "$run" --once > "$scratch/out" || fails "watch of a locked run"

note "a stolen lock: the process leaves, and what the other has there stays as it is"
foreign='{"host":"n17","pid":4711,"started":"5","system":"a/b","token":"0123456789abcdef0123456789abcdef","since":"2026-03-01T12:00:00Z","state":"held"}'
kill -STOP $one
echo "$foreign" > "$scratch/lock"; mv "$scratch/lock" "$run/lock"
sleep 5   # the thread was stopped too: it sees this at the next step, not by luck of its two seconds
# The record in ranks/ is this process' own: whoever comes behind it moves it away and makes another.
written() { (cd "$run" && find . -type f ! -name log.txt ! -name log_r0.csv ! -path './ranks/*' | sort | xargs sha256sum); }
before=$(written) lines=$(wc -l < "$run/log_r0.csv")
kill -CONT $one
status=0; wait $one || status=$?
[ $status = 74 ] && grep -q "was taken by pid 4711 on n17" "$scratch/err1" || { fails "a stolen lock: exit $status"; cat "$scratch/err1"; }
[ "$(written)" = "$before" ] || fails "who lost the lock still wrote"
[ $lines -gt 8 ] && [ "$(wc -l < "$run/log_r0.csv")" -le $((lines + 1)) ] || fails "who lost the lock still wrote lines"   # stopped before a line

note "another machine's lock: refused while it is renewed, taken when it was silent; garbage alike"
touch "$run/lock"
expect 2 "pid 4711 on n17, since 2026-03-01T12:00:00Z" start --run "$run" --steps 8
touch -d "-31 seconds" "$run/lock"
expect 0 "was not renewed for too long" start --run "$run" --steps 8
head -c 300 /dev/urandom > "$run/lock"
expect 2 "holds no lock that can be read" start --run "$run" --steps 9
touch -d "-31 seconds" "$run/lock"
expect 0 "" start --run "$run" --steps 9

note "a folder that cannot be written"
mkdir "$scratch/readonly"
if [ "$(id -u)" = 0 ]; then readonly=/proc/sys/kernel; else readonly=$scratch/readonly; chmod 0555 "$readonly"; fi
expect 74 "is the directory writable" start --run "$readonly" --steps 1
exit $((failures > 0))
