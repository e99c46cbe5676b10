# label: mpi
# One result on any number of ranks: the hash of one process on 2, 4 and 8, by shared memory and by messages, with slots that do not
# divide evenly, through stops, kills and changes of the number of ranks. And what must not start says so once.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

base=(train.steps=12 checkpoint.every=4 log.every=4 held_out.every=6 held_out.samples=4 held_out.constant=4 threads=1)
hash_of() { "$VJEPA" checkpoint hash "$1"; }
on() {   # on N RUN WORDS...
  local n=$1 run=$2; shift 2
  ranks "$n" timeout 300 "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" "${base[@]}" "$@" > "$scratch/out" 2> "$scratch/err"
}
same() {   # same HASH RUN WHAT
  local got; got=$(hash_of "$2") || { fails "$3: no hash"; return; }
  [ "$got" = "$1" ] || fails "$3: $got instead of $1"
}

note "8 slots"
"$VJEPA" pretrain quickstart --run "$scratch/one" "data.dir=$shards" "${small[@]}" "${base[@]}" train.batch=8 > "$scratch/out" 2>&1 || { fails "one process"; cat "$scratch/out"; }
eight=$(hash_of "$scratch/one")
for n in 1 2 4 8; do
  on $n "$scratch/n$n" train.batch=8 || { fails "$n ranks: exit $?"; cat "$scratch/err"; }
  same "$eight" "$scratch/n$n" "$n ranks"
  [ "$(jq -s 'map([.step, .loss, .held_out.ratio, .grad_norm]) | tostring' "$scratch/n$n/metrics.jsonl")" = "$(jq -s 'map([.step, .loss, .held_out.ratio, .grad_norm]) | tostring' "$scratch/one/metrics.jsonl")" ] ||
    fails "$n ranks: other figures in metrics.jsonl"
done
for n in 2 4 8; do
  on $n "$scratch/zero$n" train.batch=8 parallel.mode=zero2 || { fails "zero2, $n ranks: exit $?"; cat "$scratch/err"; }
  same "$eight" "$scratch/zero$n" "zero2 on $n ranks"
  [ "$(ls "$scratch/zero$n"/ckpt/step-00000012/shard-*.h5 | wc -l)" = $n ] || fails "zero2 on $n ranks: not $n shards"
done
on 4 "$scratch/messages" train.batch=8 parallel.shared_memory=false || { fails "messages: exit $?"; cat "$scratch/err"; }
same "$eight" "$scratch/messages" "4 ranks by messages"
on 2 "$scratch/threads" train.batch=8 threads=2 || fails "2 threads"
same "$eight" "$scratch/threads" "2 ranks with 2 threads each"
on 2 "$scratch/far-zero" train.batch=8 device=far parallel.mode=zero2 || { fails "far, zero2: exit $?"; cat "$scratch/err"; }
same "$eight" "$scratch/far-zero" "2 ranks on the device far with zero2"
on 2 "$scratch/far" train.batch=8 device=far || { fails "far: exit $?"; cat "$scratch/err"; }
same "$eight" "$scratch/far" "2 ranks on the device far"

note "6 slots: ranks without one in the last round"
"$VJEPA" pretrain quickstart --run "$scratch/six" "data.dir=$shards" "${small[@]}" "${base[@]}" train.batch=6 > "$scratch/out" 2>&1
six=$(hash_of "$scratch/six")
for n in 2 4; do
  on $n "$scratch/six$n" train.batch=6 || { fails "6 slots, $n ranks: exit $?"; cat "$scratch/err"; }
  same "$six" "$scratch/six$n" "6 slots on $n ranks"
  on $n "$scratch/six-zero$n" train.batch=6 parallel.mode=zero2 || { fails "6 slots, $n ranks, zero2: exit $?"; cat "$scratch/err"; }
  same "$six" "$scratch/six-zero$n" "6 slots on $n ranks with zero2"
done
# 3 and 5 are no powers of two: other bits, but the same ones every time.
for n in 3 5; do
  on $n "$scratch/odd$n" train.batch=6 && on $n "$scratch/odd$n-again" train.batch=6 || { fails "$n ranks"; cat "$scratch/err"; }
  same "$(hash_of "$scratch/odd$n")" "$scratch/odd$n-again" "$n ranks, again"
done

note "stops, and other numbers of ranks"
on 2 "$scratch/stages" train.batch=8 --steps 3 && on 4 "$scratch/stages" train.batch=8 --steps 5 && on 1 "$scratch/stages" train.batch=8 --steps 7 &&
  on 8 "$scratch/stages" train.batch=8 --steps 8 parallel.mode=zero2 && on 3 "$scratch/stages" train.batch=8 parallel.mode=zero2 --steps 8 &&
  on 4 "$scratch/stages" train.batch=8 parallel.mode=zero2 --steps 10 && on 2 "$scratch/stages" train.batch=8 || { fails "changing ranks: exit $?"; cat "$scratch/err"; }
same "$eight" "$scratch/stages" "2, 4, 1 ranks, 8, 4 with zero2, 2"
# A request to stop that only one rank gets: all stop at one step, 75, and go on.
long=(train.batch=8 train.steps=4000 held_out.every=0 checkpoint.every=4000)
on 2 "$scratch/stopped" "${long[@]}" & pid=$!
for _ in $(seq 600); do grep -q '"step"' "$scratch/stopped/metrics.jsonl" 2> /dev/null && break; sleep 0.1; done
pkill -TERM -n -f "vjepa pretrain quickstart --run $scratch/stopped" || fails "no rank to stop"
status=0; wait $pid || status=$?
[ $status = 75 ] || { fails "stopped: exit $status"; cat "$scratch/err"; }
[ "$(grep -c 'stopped on SIGTERM' "$scratch/err")" -le 2 ] && "$VJEPA" checkpoint verify "$scratch/stopped" > "$scratch/out" || fails "no checkpoint after a stop"
# A killed rank ends the run within seconds, and the run goes on from its checkpoint.
on 4 "$scratch/killed" train.batch=8 train.steps=4000 held_out.every=0 & pid=$!
for _ in $(seq 600); do [ -e "$scratch/killed/ckpt/LATEST" ] && break; sleep 0.1; done
pkill -KILL -n -f "vjepa pretrain quickstart --run $scratch/killed"
began=$(date +%s) status=0; wait $pid || status=$?
[ $status != 0 ] && [ $(($(date +%s) - began)) -le 10 ] || fails "a killed rank: exit $status after $(($(date +%s) - began)) s"
on 2 "$scratch/killed" train.batch=8 train.steps=4000 held_out.every=0 --steps "$(($("$VJEPA" checkpoint ls "$scratch/killed" --json | jq '[.. | .step? // empty] | max') + 2))" || {
  fails "going on after a kill: exit $?"; cat "$scratch/err"; }

note "what must not start"
refuses() {   # refuses CODE PATTERN N WORDS...
  local code=$1 pattern=$2 n=$3 status=0; shift 3
  on "$n" "$scratch/refused" "$@" || status=$?
  [ $status = "$code" ] || { fails "exit $status instead of $code: $*"; cat "$scratch/err"; }
  [ "$(grep -c "^vjepa: error:" "$scratch/err")" = 1 ] && grep -q "$pattern" "$scratch/err" || { fails "one message with '$pattern' was expected: $*"; cat "$scratch/err"; }
  [ ! -e "$scratch/refused" ] || { fails "a refused run leaves a directory"; rm -rf "$scratch/refused"; }
}
refuses 2 "5 ranks, but a step has 4 slots" 5 train.batch=4
refuses 2 "3 ranks are asked for" 2 train.batch=8 parallel.ranks=3
refuses 2 "parallel.shard=3 on 4 ranks" 4 train.batch=8 parallel.mode=hsdp parallel.shard=3
refuses 2 "optim.in_backward" 2 train.batch=2 mask.group=1 optim.in_backward=true
refuses 2 "unknown key" 4 optim.l=3
refuses 2 "does not exist" 4 data.dir=/nowhere
# Other programs than each other: the launcher starts two builds.
cp "$VJEPA" "$scratch/vjepa-other"; printf '\0' >> "$scratch/vjepa-other"; cp "$VJ_BUILD/vjepa_mpi.so" "$scratch/"
words=(pretrain quickstart --run "$scratch/mixed" "data.dir=$shards" "${small[@]}" "${base[@]}" train.batch=8)
status=0; mpirun --oversubscribe --bind-to none -np 1 "$VJEPA" "${words[@]}" : -np 1 "$scratch/vjepa-other" "${words[@]}" > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 2 ] && [ "$(grep -c "different builds" "$scratch/err")" = 1 ] || { fails "mixed builds: exit $status"; cat "$scratch/err"; }
# Without vjepa_mpi.so; and srun without --mpi=pmix.
mkdir "$scratch/bare"; cp "$VJEPA" "$scratch/bare/vjepa"
status=0; ranks 2 "$scratch/bare/vjepa" "${words[@]}" > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 2 ] && [ "$(grep -c "there is no vjepa_mpi.so" "$scratch/err")" = 1 ] || { fails "without MPI: exit $status"; cat "$scratch/err"; }
"$scratch/bare/vjepa" pretrain quickstart --run "$scratch/alone" "data.dir=$shards" "${small[@]}" "${base[@]}" train.batch=8 --steps 1 > "$scratch/out" 2>&1 || fails "alone without MPI"
status=0; SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=4 "$VJEPA" "${words[@]}" > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 2 ] && grep -q -- "--mpi=pmix" "$scratch/err" || { fails "srun without pmix: exit $status"; cat "$scratch/err"; }
[ ! -e "$scratch/mixed" ] || fails "a run that was refused left a directory"
exit $((failures > 0))
