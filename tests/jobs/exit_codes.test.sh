# label: slow
# The table of exit codes, each by a real run of the program with its message. 137 is what a shell says of a killed process.
source tests/support/train_fixture.sh
make_shards

expect() {   # expect CODE PATTERN COMMAND...: exit code, a piece of stderr, one "vjepa:" line
  local code=$1 pattern=$2 status=0; shift 2
  "$@" > "$scratch/out" 2> "$scratch/err" || status=$?
  [ $status -eq "$code" ] || { fails "exit $status instead of $code: $*"; cat "$scratch/err"; }
  grep -q -- "$pattern" "$scratch/err" || { fails "no '$pattern' in the messages of: $*"; cat "$scratch/err"; }
  if [ "$code" -ne 0 ]; then
    [ "$(grep -c '^vjepa:' "$scratch/err")" = 1 ] || { fails "not one message: $*"; cat "$scratch/err"; }
  fi
}
with() { env "$@"; }   # with NAME=VALUE COMMAND...
declare -f train_small > "$scratch/train.sh"; declare -p small shards VJEPA >> "$scratch/train.sh"
cat > "$scratch/train" <<SH
#!/bin/bash
source "$scratch/train.sh"
train_small "\$@"
SH
chmod +x "$scratch/train"; train=$scratch/train

note "0: done, or --steps reached"
expect 0 "" "$train" "$scratch/a" train.steps=12 --steps 8
note "1: a comparison failed, a result is incomplete"
cp -r "$scratch/a/ckpt/step-00000008" "$scratch/step-00000008"
printf 'X' | dd of="$(ls "$scratch"/step-00000008/shard-*.h5)" bs=1 seek=60000 conv=notrunc 2> /dev/null
expect 1 "" "$VJEPA" checkpoint verify "$scratch/step-00000008"
expect 1 "largest relative difference" "$VJEPA" checkpoint diff "$scratch/a" "$scratch/step-00000008"
note "2: usage, configuration, another run's files"
expect 2 "unknown option" "$VJEPA" pretrain quickstart --rnu x
expect 2 "unknown key" "$train" "$scratch/x" optim.rl=1
expect 2 "another configuration" "$train" "$scratch/a" train.steps=12 optim.lr=0.1
[ ! -e "$scratch/x" ] || fails "a refused start left a run behind"
note "65: the content of data"
mkdir "$scratch/junk"; head -c 5000 /dev/urandom > "$scratch/junk/a.mp4"
expect 65 "" "$VJEPA" data pack --out "$scratch/s2" --source "junk=$scratch/junk"
note "70: a bug of ours, by a broken rule and by signals: message, report"
expect 70 "bug: injected at checkpoint.begin" with VJ_FAULT=bug@checkpoint.begin:1 "$train" "$scratch/bug" train.steps=12
report=$(ls "$scratch"/bug/crash-*.txt) || fails "no report in the run's directory"
grep -q "reason:   injected at checkpoint.begin" "$report" && grep -q "command: .* pretrain quickstart" "$report" && grep -q "backtrace" "$report" ||
  { fails "the report is not complete"; cat "$report"; }
[ "$(sed -n '/^backtrace/,$p' "$report" | grep -c '0x')" -ge 4 ] || fails "the report has no backtrace"
expect 0 "" "$train" "$scratch/bug" train.steps=12   # nothing is lost: the same command goes on
if [ "$VJ_TEST_PROFILE" != asan ] && [ "$VJ_TEST_PROFILE" != tsan ]; then
  for signal in SEGV ABRT BUS FPE; do
    "$VJEPA" pretrain quickstart --run "$scratch/sig$signal" "data.dir=$shards" "${small[@]}" train.steps=4000 > "$scratch/out" 2> "$scratch/err" &
    pid=$!
    for _ in $(seq 400); do [ -e "$scratch/sig$signal/ckpt/LATEST" ] && break; sleep 0.05; done
    kill -$signal $pid
    status=0; wait $pid || status=$?
    [ $status = 70 ] && grep -q "crashed with SIG$signal" "$scratch/err" || { fails "SIG$signal: exit $status"; cat "$scratch/err"; }
    grep -q "reason:   SIG$signal" "$scratch/sig$signal"/crash-*.txt || fails "SIG$signal left no report"
    "$VJEPA" checkpoint verify "$scratch/sig$signal" > /dev/null || fails "SIG$signal left a checkpoint that is not whole"
  done
fi
note "71: memory"
expect 71 "no memory" "$VJEPA" encode --checkpoint "$scratch/a" "$scratch/videos/clip0.avi" --out "$scratch/e.h5" --frames 1024 --crop 4096
note "74: storage, checkpoints"
expect 74 "no space left" with VJ_FAULT=fail@checkpoint.before_manifest:1 "$train" "$scratch/full" train.steps=12
rm "$scratch"/step-00000008/shard-*.h5
expect 74 "is missing" "$VJEPA" checkpoint hash "$scratch/step-00000008"
expect 74 "Input/output error" with "VJ_FAULT=eio@read[made-0]:30+" "$train" "$scratch/eio" train.steps=12   # after three more attempts
note "86: a read that never ends"
expect 86 "made-.*h5 row .*data.io_fatal_s" with "VJ_FAULT=stall@read[made-0]:30+" "$train" "$scratch/stall" train.steps=12 data.io_fatal_s=0.5
expect 0 "another thread reads it anew" with "VJ_FAULT=stall@read[made-0]:30" "$train" "$scratch/stall" train.steps=12 data.io_fatal_s=30 data.io_hedge_s=0.2
note "75: stopped on request; 130: the second Ctrl-C; 137: killed"
for how in "TERM 75" "KILL 137"; do
  run=$scratch/stop-${how% *}
  "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" train.steps=4000 checkpoint.every=10 > "$scratch/out" 2> "$scratch/err" &
  pid=$!
  for _ in $(seq 400); do [ -e "$run/ckpt/LATEST" ] && break; sleep 0.05; done
  kill -"${how% *}" $pid
  status=0; wait $pid || status=$?
  [ $status = "${how#* }" ] || { fails "SIG${how% *}: exit $status"; cat "$scratch/err"; }
done
# A measurement has no safe point: the second interrupt leaves at once.
"$VJEPA" bench ops --model vit_small --crop 224 --frames 16 --batch 2 --steps 30 > "$scratch/out" 2> "$scratch/err" & pid=$!
sleep 1
children=$(cat "/proc/$pid/task/$pid/children" 2> /dev/null || true)
kill -INT $pid; sleep 0.2; kill -INT $pid || true
status=0; wait $pid || status=$?
[ -z "$children" ] || kill -KILL $children 2> /dev/null || true
[ $status = 130 ] || fails "two SIGINT: exit $status"
note "87: not finite"
expect 87 "not finite" "$train" "$scratch/nan" train.steps=12 optim.lr=1e36 optim.start_lr=1e36 optim.warmup=0
[ $failures = 0 ]
