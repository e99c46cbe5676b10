# label: mpi
# Saves of four ranks, each writing its shard (zero2), with one of them killed or out of space at a random point: afterwards there is
# always a valid checkpoint and never a torn one, all ranks have ended, and the run goes on to the bits of an undisturbed one.
# VJ_TEST_FAULTS: how many (30).
source tests/support/train_fixture.sh
source tests/support/ranks.sh
seed=${VJ_TEST_SEED:-$((RANDOM * 32768 + RANDOM))} faults=${VJ_TEST_FAULTS:-30}
RANDOM=$((seed % 32768))
note "seed $seed (repeat with VJ_TEST_SEED=$seed)"
make_shards

words=(train.batch=4 train.steps=$((2 * faults)) checkpoint.every=1 checkpoint.keep=2 held_out.every=0 log.every=50 monitor.every=0 threads=1 parallel.mode=zero2)
command=("$VJEPA" pretrain quickstart "data.dir=$shards" "${small[@]}" "${words[@]}")
"${command[@]}" --run "$scratch/whole" > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
want=$("$VJEPA" checkpoint hash "$scratch/whole")

run=$scratch/run killed=0 full=0 missed=0
# What the first rank does, and what all do.
first=(create pwrite fsync fsync_dir rename checkpoint.shard checkpoint.before_manifest checkpoint.after_manifest checkpoint.before_rename
       checkpoint.after_rename checkpoint.before_latest checkpoint.after_latest)
every=(pwrite pwrite fsync checkpoint.shard)
life() {   # life RANK FAULT STEPS: four ranks, RANK with the fault
  local rank=$1 fault=$2 apps=() command=("${command[@]}" --steps "$3")
  [ "$rank" = 0 ] || apps+=(-np "$rank" "${command[@]}" --run "$run" :)
  apps+=(-np 1 env "VJ_FAULT=$fault" "${command[@]}" --run "$run")
  [ "$rank" = 3 ] || apps+=(: -np $((3 - rank)) "${command[@]}" --run "$run")
  timeout 120 mpirun --oversubscribe --bind-to none "${apps[@]}" > "$scratch/out" 2> "$scratch/err"
}
for i in $(seq $((2 * faults))); do
  how=kill; [ $((RANDOM % 3)) != 0 ] || how=fail
  rank=$((RANDOM % 4)) status=0
  if [ $rank = 0 ]; then point=${first[RANDOM % ${#first[@]}]}; else point=${every[RANDOM % ${#every[@]}]}; fi
  case $point in checkpoint.*) fault=$how@$point:$((1 + RANDOM % 2)) ;; *) fault=$how@$point:$((1 + RANDOM % 12)) ;; esac
  at=0; [ ! -e "$run/ckpt/LATEST" ] || at=$(($(sed 's/^step-0*//' "$run/ckpt/LATEST") + 0))
  life $rank "$fault" $((at + 3 < 2 * faults ? at + 3 : 2 * faults)) || status=$?
  [ $status != 124 ] || { fails "$fault on rank $rank: the ranks hang"; cat "$scratch/err"; break; }
  if [ $status = 0 ]; then missed=$((missed + 1)); [ $at -lt $((2 * faults - 3)) ] || break; continue; fi   # the point was not met in three steps
  if [ $how = kill ]; then killed=$((killed + 1)); else full=$((full + 1)); [ $status = 74 ] || { fails "$fault on rank $rank: exit $status"; cat "$scratch/err"; }; fi
  if [ -e "$run/ckpt/LATEST" ]; then
    "$VJEPA" checkpoint verify "$run" > "$scratch/out" 2>&1 || { fails "$fault on rank $rank: the newest checkpoint is not valid"; cat "$scratch/out"; }
    for c in "$run"/ckpt/step-????????; do [ -e "$c/manifest.json" ] || fails "$fault on rank $rank: $c is torn"; done
  fi
  [ $((killed + full)) -lt "$faults" ] || break
done
note "$killed kills, $full full disks, $missed points not met"
[ $((killed + full)) -ge $((faults * 2 / 3)) ] || fails "only $((killed + full)) of $faults faults were met"
ranks 2 "${command[@]}" --run "$run" > "$scratch/out" 2> "$scratch/err" || { fails "the last life: exit $?"; cat "$scratch/err"; }
[ "$("$VJEPA" checkpoint hash "$run")" = "$want" ] || fails "other bits than the undisturbed run's"
ls "$run/ckpt" | grep -q tmp && fails "left over: $(ls "$run/ckpt")"
exit $((failures > 0))
