# `vjepa bench` measures and reports; no time is judged here, only that figures are there and fit together.
set -euo pipefail
: "${VJEPA:?the program under test}"
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
failures=0
fails() { printf 'FAIL: %s\n' "$*"; failures=$((failures + 1)); }
tiny=(--model tiny --crop 32 --frames 4 --batch 1 --threads 1)

"$VJEPA" bench roof "${tiny[@]}" --rounds 1 --json > "$scratch/roof.json" || fails "roof"
"$VJEPA" bench ops "${tiny[@]}" --steps 1 > "$scratch/ops.txt" || fails "ops"
for op in linear_forward attention_backward adamw; do grep -q "^$op " "$scratch/ops.txt" || fails "ops does not show $op"; done

# The peer's first step is left out, its last word on memory counts: 4 s and 2 GiB.
peer="printf 'total 9.0 s peak 1.0 GiB\ntotal 4.0 s peak 2.0 GiB\ntotal 4.0 s\n'"
"$VJEPA" bench step "${tiny[@]}" --steps 2 --pairs 2 --peer "$peer" --json > "$scratch/step.json" || fails "step"
"$VJEPA" bench step "${tiny[@]}" --steps 1 --pairs 1 > "$scratch/step.txt" || fails "step as text"
grep -q "median of 1:" "$scratch/step.txt" || fails "step prints no median"

python3 - "$scratch" <<'PY' || fails "the figures do not fit together"
import json, sys
step = json.load(open(sys.argv[1] + "/step.json"))
roof = json.load(open(sys.argv[1] + "/roof.json"))
assert step["peer_seconds"]["all"] == [4.0, 4.0], step["peer_seconds"]
assert step["peer_rss_bytes"]["median"] == 2 << 30
for i in range(2):
    ours = step["step_seconds"]["all"][i]
    assert ours > 0 and step["peak_rss_bytes"]["all"][i] > 1 << 20
    assert abs(step["rate_ratio"]["all"][i] * ours / 4 - 1) < 1e-9
    assert abs(step["roof_share"]["all"][i] * ours * step["roof_flop_per_second"]["all"][i] / step["step_flop"] - 1) < 1e-9
assert len(roof["products"]) == 5 and all(p["own"] > 0 and p["oneDNN"] > 0 for p in roof["products"])
assert roof["fma_flop_per_second"] > 0 and roof["memory_bytes_per_second"] > 0
PY

expect() {   # expect CODE PATTERN words...
  local code=$1 pattern=$2 status=0; shift 2
  "$VJEPA" bench "$@" > /dev/null 2> "$scratch/err" || status=$?
  [ $status -eq "$code" ] && grep -q -- "$pattern" "$scratch/err" || { fails "exit $status: $*"; cat "$scratch/err"; }
}
expect 2 "the peer ended with status 3" step "${tiny[@]}" --steps 1 --pairs 1 --peer "exit 3"
expect 2 "printed 1 lines" step "${tiny[@]}" --steps 1 --pairs 1 --peer "echo total 1 s"
expect 2 "tokens, a clip has 8" roof "${tiny[@]}" --ctx 8 --tgt 8

# The loader's bench: made videos, a list that a peer can follow, pixels of the size it says, and the peer's rate.
mkdir "$scratch/videos"
for i in 1 2; do
  ffmpeg -v error -f lavfi -i "testsrc2=size=96x64:rate=12" -t $((2 * i)) -pix_fmt yuv420p -c:v mpeg4 "$scratch/videos/v$i.avi" || fails "ffmpeg"
done
"$VJEPA" data pack --out "$scratch/shards" --source "made=$scratch/videos" --window 60 > "$scratch/pack.log" 2>&1 || cat "$scratch/pack.log"
loader=(loader "$scratch/shards" --samples 4 --pairs 2 --workload W3)
"$VJEPA" bench "${loader[@]}" --originals "$scratch/videos" --list "$scratch/list" --dump "$scratch/pixels" \
  --peer "printf 'total 9.0 s\ntotal 4.0 s\n'" --json > "$scratch/loader.json" || fails "loader"
"$VJEPA" bench "${loader[@]}" > "$scratch/loader.txt" && grep -q "median of 2: .* frames decoded for each one used" "$scratch/loader.txt" || fails "loader as text"
python3 - "$scratch" <<'PY' || fails "the loader's figures do not fit together"
import json, os, sys
d = sys.argv[1]
loader = json.load(open(d + "/loader.json"))
items = [json.loads(line) for line in open(d + "/list")]
assert loader["peer_clips_per_second"]["all"] == [1.0, 1.0], loader["peer_clips_per_second"]
assert loader["decoded_per_used_frame"] >= 0.9 and loader["samples"] == 4 and len(items) == 4
for i in range(2):
    assert abs(loader["rate_ratio"]["all"][i] / loader["clips_per_second"]["all"][i] - 1) < 1e-9
assert os.path.getsize(d + "/pixels") == 4 * 3 * 8 * 256 * 256 * 4
assert {os.path.basename(i["file"]) for i in items} == {"v1.avi", "v2.avi"}   # four samples of two rows: each twice
for i in items:
    assert os.path.exists(i["file"]) and len(i["times"]) == len(i["frames"]) == 8 and i["frames"] == sorted(i["frames"])
    assert all(abs(t - f / 12) < 2e-3 for t, f in zip(i["times"], i["frames"])), i
    assert 0 <= i["top"] <= 64 - i["height"] and 0 <= i["left"] <= 96 - i["width"] and i["side"] == 256
PY
expect 2 "W1, W2, W3 or W4" loader "$scratch/shards" --workload W5
expect 2 "belong together" loader "$scratch/shards" --list "$scratch/list"
expect 2 "has no catalog.json" loader "$scratch/videos"
[ $failures = 0 ]
