# PyTorch files that mean harm: each is refused with its message and exit code 2, in bounded time and memory; nothing in
# them is executed and nothing is left behind.
set -euo pipefail
: "${VJEPA:?the program under test}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0 files=0
mkdir "$scratch/files"
python3 -W ignore tests/checkpoints/hostile_pt.py "$scratch/files" > "$scratch/list"
# Address sanitizers reserve terabytes they do not use: no limit on addresses there.
grep -qa __asan_init "$VJEPA" || ulimit -v 2000000
while IFS=$'\t' read -r name message; do
  files=$((files + 1)) status=0
  timeout 60 "$VJEPA" checkpoint import "$scratch/files/$name.pt" --out "$scratch/out" --heads 2 --pred-heads 2 > "$scratch/said" 2>&1 || status=$?
  [ $status = 2 ] && grep -qE "vjepa: error: .*$name\.pt.*$message" "$scratch/said" && [ "$(wc -l < "$scratch/said")" = 1 ] ||
    { printf 'FAIL: %s: exit %s, not 2 with: %s\n' "$name" "$status" "$message"; cat "$scratch/said"; failures=$((failures + 1)); }
  [ ! -e "$scratch/out" ] || { printf 'FAIL: %s left something behind\n' "$name"; failures=$((failures + 1)); rm -r "$scratch/out"; }
  [ ! -e "$scratch/files/executed" ] || { printf 'FAIL: %s was executed\n' "$name"; exit 1; }
done < "$scratch/list"
printf '# %d files, %d wrong\n' "$files" "$failures"
[ "$files" -ge 70 ] && [ "$failures" = 0 ]
