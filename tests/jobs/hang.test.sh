# label: mpi
# A rank that is stopped ends all with 86 and is named; one that is killed is named, and nobody starts a save; records can be read
# afterwards; the doctor's words and exit codes.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards
words=(train.batch=8 train.steps=100000 checkpoint.every=100000 log.every=5 monitor.every=0 threads=1 parallel.mode=fsdp parallel.timeout_step=5 parallel.timeout_start=60)

# meet RUN RANKS: starts it, waits for step 10, sets $launcher.
meet() {
  ranks "$2" timeout 120 "$VJEPA" pretrain quickstart --run "$1" "data.dir=$shards" "${small[@]}" "${words[@]}" > "$scratch/out" 2> "$scratch/err" &
  launcher=$!
  for _ in $(seq 600); do
    ! grep -q '"step":10,' "$1/metrics.jsonl" 2> /dev/null || return 0
    kill -0 $launcher 2> /dev/null || break
    sleep 0.1
  done
  fails "step 10 was not reached"; cat "$scratch/err"; exit 1
}
pid_of() { "$VJEPA" doctor --run "$1" --json | python3 -c "import json,sys; print(json.load(sys.stdin)['ranks'][$2]['pid'])"; }

run=$scratch/stopped
meet "$run" 8
"$VJEPA" doctor --run "$run" > "$scratch/doctor" || { fails "the doctor complains of a healthy run"; cat "$scratch/doctor"; }
grep -q "all 8 ranks show signs of life" "$scratch/doctor" || { fails "healthy"; cat "$scratch/doctor"; }
pid=$(pid_of "$run" 3)
kill -STOP "$pid"
status=0; began=$SECONDS
wait $launcher || status=$?
note "rank 3 of 8 stopped: exit $status after $((SECONDS - began)) s; $(cat "$run/ranks/report.txt" 2> /dev/null)"
[ $status = 86 ] || { fails "stopped rank: exit $status"; cat "$scratch/err"; }
grep -q "rank 3 (pid $pid on .*operation [0-9]* (.*bytes" "$run/ranks/report.txt" || { fails "the report does not name rank 3"; cat "$run"/ranks/report.txt; }
[ "$(grep -c "does not get on" "$scratch/err")" -ge 1 ] || { fails "no message"; cat "$scratch/err"; }
status=0; "$VJEPA" doctor --run "$run" > "$scratch/doctor" || status=$?
[ $status = 1 ] && grep -q "when it ended: .*rank 3 (pid $pid" "$scratch/doctor" || { fails "doctor after a hang: exit $status"; cat "$scratch/doctor"; }

run=$scratch/killed
meet "$run" 4
pid=$(pid_of "$run" 2)
kill -KILL "$pid"
status=0
wait $launcher || status=$?
note "rank 2 of 4 killed: exit $status; $(cat "$run/ranks/report.txt" 2> /dev/null)"
[ $status != 0 ] && [ $status != 124 ] || fails "killed rank: exit $status"
grep -q "rank 2 (process $pid) is gone" "$run/ranks/report.txt" "$scratch/err" || { fails "the killed rank is not named"; cat "$scratch/err"; }
ls "$run/ckpt" 2> /dev/null | grep -q . && fails "a save was started: $(ls "$run/ckpt")"
status=0; "$VJEPA" doctor --run "$run" --json > "$scratch/doctor" || status=$?
[ $status = 1 ] || fails "doctor after a kill: exit $status"
python3 -c "import json; d=json.load(open('$scratch/doctor')); assert d['wrong'] and d['ranks'][2]['process'] == 'gone' and d['ranks'][2]['seq'] > 0 and d['ranks'][2]['operation'], d" ||
  fails "the record of the killed rank"

# Alone: stuck is 86 too. Then damaged records: one message, never a crash.
run=$scratch/alone status=0
VJ_FAULT=stall@read[made-0]:60+ timeout 60 "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" "${words[@]}" parallel.timeout_start=3 parallel.timeout_step=3 data.io_fatal_s=3000 data.io_hedge_s=2000 > "$scratch/out" 2> "$scratch/err" || status=$?
note "alone, a read that never ends: exit $status; $(grep "does not get on" "$scratch/err" | head -n 1)"
[ $status = 86 ] && grep -q "does not get on.*pid.*a file or a disk that does not answer" "$run/ranks/report.txt" || { fails "alone: exit $status"; cat "$scratch/err"; }
status=0; "$VJEPA" doctor --run "$scratch/none" 2> "$scratch/err" || status=$?
[ $status = 2 ] && grep -q "there is no such file" "$scratch/err" || fails "no run: exit $status"
run=$scratch/killed
head -c 5000 "$run/ranks/rank-00001.rec" > "$scratch/cut" && cp "$scratch/cut" "$run/ranks/rank-00001.rec"
status=0; "$VJEPA" doctor --run "$run" > "$scratch/doctor" 2>&1 || status=$?
[ $status = 1 ] && grep -q "rank-00001.rec: is cut short" "$scratch/doctor" || { fails "a cut record: exit $status"; cat "$scratch/doctor"; }
# Where no record can be made the training goes on, with one warning.
run=$scratch/bare
train_small "$run" --steps 2 > "$scratch/out" 2>&1 || { fails "two steps"; cat "$scratch/out"; }
rm -r "$run/ranks" && : > "$run/ranks"
train_small "$run" --steps 4 > "$scratch/out" 2>&1 || { fails "without records: exit $?"; cat "$scratch/out"; }
[ "$(grep -c "cannot be followed from outside" "$scratch/out")" = 1 ] || { fails "without records: no warning"; cat "$scratch/out"; }
exit $((failures > 0))
