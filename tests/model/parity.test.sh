# label: unit
# vjepa parity as a command: the table, --out, and its exit codes, on the files of tests/golden.
set -euo pipefail
: "${VJEPA:?the program under test}"
cd "$(dirname "${BASH_SOURCE[0]}")/../golden"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

expect() {   # expect CODE PATTERN WORDS...: exit code of vjepa parity WORDS, and a piece of what it says
  local code=$1 pattern=$2 status=0; shift 2
  "$VJEPA" parity "$@" > "$scratch/said" 2>&1 || status=$?
  if [ $status -ne "$code" ] || ! grep -qE -- "$pattern" "$scratch/said"; then
    failures=$((failures + 1))
    echo "FAIL: exit $status, expected $code and '$pattern': vjepa parity $*"; cat "$scratch/said"
  fi
}
files() { printf -- '--model %s/model.safetensors --batch %s/batch.safetensors' "$1" "$1"; }

for type in float64 float32; do
  for device in ref cpu far; do
    given="$(files parity-$type) --expect parity-$type/expect.safetensors --device $device threads=2"
    expect 0 '^agreement$' $given
    for kind in loss predictions targets gradients 'updated parameters' 'target encoder'; do
      grep -qE "^$kind +[0-9]+ " "$scratch/said" || { failures=$((failures + 1)); echo "FAIL: no line '$kind' in the table"; }
    done
    # One value of the last tensor in the file becomes about 4: nothing else has changed, and the step disagrees.
    cp parity-$type/expect.safetensors "$scratch/changed"
    printf '\x40\x80\x10\x40' | dd of="$scratch/changed" bs=1 seek=$(($(stat -c %s "$scratch/changed") - 4)) conv=notrunc status=none
    expect 1 'disagreement' ${given/--expect parity-$type\/expect.safetensors/--expect $scratch/changed}
    grep -q -- '<-- above' "$scratch/said" || { failures=$((failures + 1)); echo "FAIL: the table does not point at the disagreement"; }
  done
done

# Ours on ref agrees with ours; a step with another learning rate, decay or momentum does not agree with theirs.
expect 0 'gradient norm' $(files parity-float64) --out "$scratch/ours"
expect 0 '^agreement$' $(files parity-float64) --expect "$scratch/ours"
for key in lr=2e-3 weight_decay=0.4 momentum=0.9; do
  expect 1 'disagreement' $(files parity-float64) --expect parity-float64/expect.safetensors $key
done
expect 1 'disagreement' $(files parity-float64) --expect parity-float64/expect.safetensors heads=1

# What is wrong is said in one message.
expect 0 '^usage|--expect' --help
expect 2 'needs --model FILE and --batch FILE' --model parity-float64/model.safetensors
expect 2 'head=2: unknown key' $(files parity-float64) head=2
expect 2 'heads=1.5: a whole number' $(files parity-float64) heads=1.5
expect 2 'heads=0: a whole number' $(files parity-float64) heads=0
expect 2 'threads=0: a whole number' $(files parity-float64) threads=0
expect 2 'lr=fast: a number' $(files parity-float64) lr=fast
expect 2 'gpu' $(files parity-float64) --device gpu
expect 2 'holds no tensor' --model parity-float64/batch.safetensors --batch parity-float64/batch.safetensors
expect 2 'shape|sizes|tensor' $(files parity-float64) --expect parity-float32/expect.safetensors
expect 74 'nowhere' --model "$scratch/nowhere" --batch parity-float64/batch.safetensors
head -c 5000 parity-float64/model.safetensors > "$scratch/short"
"$VJEPA" parity --model "$scratch/short" --batch parity-float64/batch.safetensors > "$scratch/said" 2>&1 && status=0 || status=$?
[ $status -ge 1 ] && [ $status -lt 128 ] && [ $status -ne 70 ] || { failures=$((failures + 1)); echo "FAIL: exit $status for a cut file"; cat "$scratch/said"; }
exit $((failures > 0))
