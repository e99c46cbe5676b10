# label: mpi
# Every collective on 1 to 8 ranks, by shared memory and by messages, and what the others get when a rank is gone.
source tests/support/ranks.sh
program=$VJ_BUILD/parallel_collectives failed=0
fails() { echo "FAIL: $*"; failed=1; }

for n in 1 2 3 4 5 8; do
  for by in memory messages; do
    out=$(ranks $n timeout 300 "$program" check $by 2>&1) || fails "$n ranks by $by: exit $?: $out"
    echo "$out"
    case $by in memory) want="shared memory" ;; *) want="Open MPI" ;; esac
    if [ $n -gt 1 ]; then grep -q "$n ranks by $want.*: 0 wrong" <<< "$out" || fails "$n ranks by $by: $out"; fi
  done
done
# Without a launcher: alone, and everything works.
"$program" check | grep -q "1 ranks by self: 0 wrong" || fails "alone"

# /dev/shm of any size: as much as there is, or messages. A mount of its own needs root.
if unshare -m true 2> /dev/null; then
  for size in 4m 100k; do
    out=$(unshare -m bash -c "mount -t tmpfs -o size=$size tmpfs /dev/shm && source tests/support/ranks.sh && OMPI_MCA_btl=self,tcp ranks 4 timeout 300 $program check memory" 2>&1) ||
      fails "/dev/shm of $size: $out"
    echo "/dev/shm of $size: $(tail -n 1 <<< "$out")"
    case $size in 100k) grep -q "not enough shared memory" <<< "$out" && grep -q "by Open MPI" <<< "$out" || fails "100k: $out" ;;
      *) grep -q "by shared memory" <<< "$out" || fails "$size: $out" ;; esac
  done
fi
[ -z "$(ls /dev/shm | grep '^vjepa-ranks-')" ] || fails "shared memory is left behind: $(ls /dev/shm)"

# A rank that is gone is named, at once; one that ends all is obeyed.
out=$(timeout 20 mpirun --oversubscribe --bind-to none --enable-recovery -np 3 "$program" gone 1 2>&1)
[ $? -ne 124 ] || fails "the others hang when a rank is gone"
grep -q "rank [02]: rank 1 (process [0-9]*) is gone" <<< "$out" || fails "the rank that is gone is not named: $out"
for _ in 1 2 3 4 5; do   # whoever goes first
  status=0; out=$(timeout 20 mpirun --oversubscribe --bind-to none -np 3 "$program" abort 1 2>&1) || status=$?
  [ $status = 65 ] || fails "abort: exit $status: $out"
done
exit $failed
