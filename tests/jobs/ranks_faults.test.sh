# label: mpi
# Saves of four ranks, each writing its shard (zero2), beside the training or waited for, with one of them killed, out of space or cut
# short at a random point, and with a byte of the newest checkpoint flipped: afterwards there is always a valid checkpoint and never a
# torn one, all ranks have ended, and the run goes on to the bits of an undisturbed one.
# VJ_TEST_FAULTS: how many (30).
source tests/support/train_fixture.sh
source tests/support/ranks.sh
seed=${VJ_TEST_SEED:-$((RANDOM * 32768 + RANDOM))} faults=${VJ_TEST_FAULTS:-30}
RANDOM=$((seed % 32768))
note "seed $seed (repeat with VJ_TEST_SEED=$seed)"
make_shards

words=(train.batch=4 train.steps=$((4 * faults)) checkpoint.every=1 checkpoint.keep=3 held_out.every=0 log.every=50 monitor.every=0 threads=1 parallel.mode=zero2)
command=("$VJEPA" pretrain quickstart "data.dir=$shards" "${small[@]}" "${words[@]}")
"${command[@]}" --run "$scratch/whole" > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
want=$("$VJEPA" checkpoint hash "$scratch/whole")

run=$scratch/run killed=0 full=0 cut=0 flipped=0 missed=0 beside=0
# What the first rank does, and what all do.
first=(create pwrite fsync fsync_dir rename checkpoint.shard checkpoint.before_manifest checkpoint.after_manifest checkpoint.before_rename
       checkpoint.after_rename checkpoint.before_latest checkpoint.after_latest)
every=(pwrite pwrite fsync checkpoint.shard)
newest() { ls -d "$run"/ckpt/step-???????? 2> /dev/null | tail -n 1; }
life() {   # life RANK FAULT STEPS: four ranks, RANK with the fault ("": none)
  local rank=$1 fault=$2 apps=() command=("${command[@]}" "checkpoint.async=$async" --steps "$3")
  [ "$rank" = 0 ] || apps+=(-np "$rank" "${command[@]}" --run "$run" :)
  apps+=(-np 1 env "VJ_FAULT=$fault" "${command[@]}" --run "$run")
  [ "$rank" = 3 ] || apps+=(: -np $((3 - rank)) "${command[@]}" --run "$run")
  timeout 120 mpirun --oversubscribe --bind-to none "${apps[@]}" > "$scratch/out" 2> "$scratch/err"
}
flip() {   # another bit in a random byte of a random file of the newest checkpoint
  local files file at byte
  files=("$1"/*)
  file=${files[RANDOM % ${#files[@]}]} at=$(((RANDOM * 32768 + RANDOM) % $(stat -c %s "$file")))
  byte=$(od -An -tu1 -j "$at" -N1 "$file")
  printf "\\$(printf %o $((byte ^ (1 << RANDOM % 8))))" | dd of="$file" bs=1 seek="$at" conv=notrunc 2> /dev/null
  fault="flip of byte $at of $file"
}
whole() {   # what must be true after every life
  [ -e "$run/ckpt/LATEST" ] || return 0
  "$VJEPA" checkpoint verify "$run" > "$scratch/out" 2>&1 || { fails "$fault on rank $rank: the newest checkpoint is not valid"; cat "$scratch/out"; }
  for c in "$run"/ckpt/step-????????; do [ -e "$c/manifest.json" ] || fails "$fault on rank $rank: $c is torn"; done
}
met() { echo $((killed + full + cut + flipped)); }
for i in $(seq $((2 * faults))); do
  case $((RANDOM % 8)) in 0 | 1 | 2) how=kill ;; 3 | 4) how=fail ;; 5) how=short ;; *) how=flip ;; esac
  async=true; [ $((RANDOM % 3)) != 0 ] || async=false
  rank=$((RANDOM % 4)) status=0 at=0 last=$((4 * faults))
  [ ! -e "$run/ckpt/LATEST" ] || at=$(($(basename "$(newest)" | sed 's/^step-0*//') + 0))
  if [ $how = flip ]; then
    [ $at -ge 3 ] || continue
    flip "$(newest)"
    life $rank "" $((at + 1 < last ? at + 1 : last)) || status=$?
    [ $status = 0 ] || { fails "$fault: exit $status"; cat "$scratch/err"; break; }
    [ "$(grep -c "is damaged: moved to" "$scratch/err")" = 1 ] || { fails "$fault: one warning was expected"; cat "$scratch/err"; }
    rm -rf "$run"/ckpt/*.damaged-*
    flipped=$((flipped + 1))
    whole
  else
    if [ $how = short ]; then point=pwrite; elif [ $rank = 0 ]; then point=${first[RANDOM % ${#first[@]}]}; else point=${every[RANDOM % ${#every[@]}]}; fi
    case $point in checkpoint.*) fault=$how@$point:$((1 + RANDOM % 2)) ;; *) fault=$how@$point:$((1 + RANDOM % 12)) ;; esac
    life $rank "$fault" $((at + 3 < last ? at + 3 : last)) || status=$?
    [ $status != 124 ] || { fails "$fault on rank $rank: the ranks hang"; cat "$scratch/err"; break; }
    if [ $status = 0 ]; then missed=$((missed + 1)); [ $at -lt $((last - 3)) ] || break; continue; fi   # the point was not met in three steps
    case $how in kill) killed=$((killed + 1)) ;; fail) full=$((full + 1)) ;; short) cut=$((cut + 1)) ;; esac
    [ $how = kill ] || [ $status = 74 ] || { fails "$fault on rank $rank: exit $status"; cat "$scratch/err"; }
    whole
  fi
  [ $async = false ] || beside=$((beside + 1))
  [ "$(met)" -lt "$faults" ] || break
done
note "$(met) faults: $killed kills, $full full disks, $cut writes cut short, $flipped flipped bits; $beside of them in saves beside the training; $missed points not met"
[ "$(met)" -ge $((faults * 2 / 3)) ] || fails "only $(met) of $faults faults were met"
ranks 2 "${command[@]}" --run "$run" > "$scratch/out" 2> "$scratch/err" || { fails "the last life: exit $?"; cat "$scratch/err"; }
[ "$("$VJEPA" checkpoint hash "$run")" = "$want" ] || fails "other bits than the undisturbed run's"
ls "$run/ckpt" | grep -q tmp && fails "left over: $(ls "$run/ckpt")"
exit $((failures > 0))
