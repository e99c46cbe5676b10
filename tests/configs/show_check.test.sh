# `vjepa config show` prints what loads to the same; `vjepa config check` prints costs, and refuses what cannot fit with what would.
set -uo pipefail
: "${VJEPA:?the program under test}"
VJEPA=$(realpath "$VJEPA")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
failures=0
fails() { printf 'FAIL: %s\n' "$*"; failures=$((failures + 1)); }

# run CODE words...: stdout in out, stderr in err
run() {
  local want=$1 status=0; shift
  timeout 120 "$VJEPA" "$@" > out 2> err < /dev/null || status=$?
  [ $status = "$want" ] || { fails "exit $status instead of $want: vjepa $*"; tail -n 5 err; }
}
says() { local file=$1 text; shift; for text in "$@"; do grep -qF -- "$text" "$file" || { fails "std$file does not hold: $text"; tail -n 5 "$file"; }; done; }

run 0 config show cooldown/vitl16-64x384 --origin optim.lr=1e-4
says out "# command line" "# default" "# configs/pretrain/vitl16.yaml:" "# configs/cooldown/vitl16-64x384.yaml:"
[ ! -s err ] || fails "config show talks"

# What is shown loads to the same, also what a shell makes hard.
words=(data.crop=96 'data.dir=a b #1: "c"' 'data.fpc=[8]' optim.lr=1e-3 'data.weights={made: 2}' data.weights.b=0.5)
run 0 config show quickstart "${words[@]}"
says out 'dir: "a b #1: \"c\""' "fpc: [8]" "lr: 0.001" 'weights: {"made": 2, "b": 0.5}'
cp out one.yaml
run 0 config show one.yaml
cmp -s out one.yaml || { fails "a resolved configuration does not load to itself"; diff out one.yaml; }

# A run directory may be called like a built-in configuration.
mkdir quickstart
run 0 config show quickstart
says out 'preset: "quickstart"'
rmdir quickstart
: > empty.yaml
run 0 config show empty.yaml
says out "batch: 3072" 'preset: "vit_large"'

run 0 config check quickstart
says out "encoder 1386624 parameters (128 x 6, 4 heads)" "64 tokens" "16 samples in 8 slots" "a checkpoint" "fits:"
# The time of a step: a share of what this machine reaches, more of it for larger products; none of a device that is made to be right.
run 0 config check quickstart threads=1
grep -qE '^time +about [0-9.]+ s a step, .* for all: 39 % of the [0-9]+ GFLOP/s that 1 thread reaches here now$' out || { fails "no expected time"; cat out; }
run 0 config check quickstart device=ref
grep -q "^time" out && fails "a time is expected of device ref"
run 2 config check pretrain/vitg16 train.batch=1048576 mask.group=1024 data.prefetch=64
says out "encoder 1012173952 parameters (1408 x 40, 22 heads)" "2048 tokens"
says err "does not fit:" "of memory are needed"
grep -q "fits:" out && fails "it fits, and does not"
run 2 config check quickstart train.batch=2097152 mask.group=2
says err "does not fit:" "what would fit:"
# What is said to fit does fit.
hint=$(sed -nE 's/.*what would fit: (.*) \([^()]*\)$/\1/p' err)
[ -n "$hint" ] || { fails "no words that would fit"; cat err; }
# shellcheck disable=SC2086
run 0 config check quickstart train.batch=2097152 mask.group=2 $hint

run 2 config check quickstart checkpoint.keep=1000000
says err "of disk" "what would fit: checkpoint.keep="
# shellcheck disable=SC2046
run 0 config check quickstart checkpoint.keep=1000000 $(sed -nE 's/.*what would fit: (.*)$/\1/p' err)

# FLOP of a step at the paper's sizes against spec: 9.8 (g), 6.5 (H), 3.6 (L) TFLOP a clip, 3072 clips, within 5 %: masks are drawn.
for row in "vitl16 11.0" "vith16 20.0" "vitg16 30.2"; do
  read -r name want <<< "$row"
  timeout 120 "$VJEPA" config check "pretrain/$name" > out 2> err < /dev/null
  got=$(sed -nE 's/^step .* slots, ([0-9.]+) PFLOP; .*/\1/p' out)
  awk -v g="${got:-0}" -v w="$want" 'BEGIN { exit !(g > 0.95 * w && g < 1.05 * w) }' || fails "$name: $got PFLOP a step instead of $want"
done

# What masks are counted over; over more samples, less is left.
for row in "slot 2" "global 16" "fixed shapes" "rank one"; do
  read -r mode what <<< "$row"
  run 0 config check quickstart device=ref mask.truncate="$mode"
  grep -qE "^mask 0 .*\(means over .*$what.*; at most" out || { fails "mask.truncate=$mode"; cat out; }
  cp out "$mode.txt"
done
awk '/^mask 0/ { n[FILENAME] = $4 } END { exit !(n["./global.txt"] < n["./slot.txt"] && n["./rank.txt"] == n["./slot.txt"]) }' ./*.txt ||
  fails "context of slot, global, rank: $(grep -h '^mask 0' ./*.txt)"

for c in pretrain cooldown data checkpoint config parity; do
  run 0 "$c" --help; says out "usage: vjepa $c"
  run 0 help "$c"; says out "usage: vjepa $c"
done
run 0 --help
says out "usage: vjepa COMMAND" pretrain cooldown checkpoint config parity "Exit codes"
run 0 --version
says out "vjepa "
set -o pipefail
"$VJEPA" config show quickstart 2> err | head -n 1 > out || fails "a reader that goes away is an error"
says out "seed: 239"
exit $((failures > 0))
