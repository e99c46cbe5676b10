# label: slow
# Kill -9 at twenty moments from a printed seed: inside saves, inside resumes, at random times; thread counts 1 and 2; cold
# and warm page cache. The final checkpoint must have the hash of a run that was never interrupted.
source tests/support/train_fixture.sh

seed=${VJ_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
note "seed $seed (repeat with VJ_TEST_SEED=$seed)"
make_shards

train_small "$scratch/whole" threads=1 > "$scratch/whole.log" 2>&1 || { cat "$scratch/whole.log"; exit 1; }
want=$("$VJEPA" checkpoint hash "$scratch/whole")
note "uninterrupted: $want"

run=$scratch/killed
save_points=(create pwrite fsync fsync_dir rename checkpoint.before_manifest checkpoint.after_manifest checkpoint.before_rename
             checkpoint.after_rename checkpoint.before_latest checkpoint.after_latest)
kills=0 in_save=0 in_resume=0 tries=0
one_life() {   # one_life FAULT THREADS SECONDS: starts the run, which is to die by itself (FAULT) or by kill -9 after SECONDS
  local fault=$1 threads=$2 seconds=$3 status=0
  if [ $((RANDOM % 2)) = 0 ]; then sync; echo 1 > /proc/sys/vm/drop_caches 2> /dev/null || true; fi   # cold cache, where allowed
  if [ -n "$fault" ]; then
    VJ_FAULT=$fault train_small "$run" threads="$threads" > "$scratch/life.log" 2>&1 || status=$?
  else
    timeout --signal=KILL "$seconds" "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" threads="$threads" \
      > "$scratch/life.log" 2>&1 || status=$?
  fi
  return $status
}
while [ $kills -lt 20 ] && [ $tries -lt 80 ]; do
  tries=$((tries + 1))
  threads=$((1 + RANDOM % 2)) fault="" seconds=0
  case $((tries % 4)) in
    0 | 2) fault="kill@${save_points[RANDOM % ${#save_points[@]}]}:$((1 + RANDOM % 3))" ;;
    1) fault="kill@resume.$([ $((RANDOM % 2)) = 0 ] && echo opened || echo loaded):1" ;;
    3) seconds=0.$((10 + RANDOM % 60)) ;;
  esac
  status=0
  one_life "$fault" "$threads" "$seconds" || status=$?
  if [ $status -eq 137 ]; then
    kills=$((kills + 1))
    case "$fault" in kill@resume*) in_resume=$((in_resume + 1)) ;; ?*) in_save=$((in_save + 1)) ;; esac
  elif [ $status -ne 0 ]; then
    cat "$scratch/life.log"; fails "a life ended with $status (fault '$fault')"; break
  fi
  # A run that got to its end before enough kills starts over in a fresh folder: every finished one must have the hash.
  if [ $status -eq 0 ]; then
    got=$("$VJEPA" checkpoint hash "$run")
    [ "$got" = "$want" ] || { fails "after $kills kills: $got"; break; }
    run=$scratch/killed-$tries
  fi
done
note "$kills kills ($in_save inside a save, $in_resume inside a resume) in $tries lives"
[ $kills -ge 20 ] || fails "only $kills kills"
[ $in_save -ge 5 ] || fails "only $in_save kills inside a save"
[ $in_resume -ge 2 ] || fails "only $in_resume kills inside a resume"
train_small "$run" threads=2 > "$scratch/last.log" 2>&1 || { cat "$scratch/last.log"; fails "the last life ended with $?"; }
got=$("$VJEPA" checkpoint hash "$run")
note "after all: $got"
[ "$got" = "$want" ] || fails "the hash differs from the uninterrupted run's"
exit $((failures > 0))
