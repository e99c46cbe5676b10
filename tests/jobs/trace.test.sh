# label: mpi
# train.trace: one valid file with all ranks, whose spans nest and agree with each other across ranks, whose clocks are compared, and
# whose operations have the bytes that the layout says. And no bit of the training is another.
source tests/support/train_fixture.sh
source tests/support/ranks.sh
make_shards

words=("$VJEPA" pretrain quickstart "data.dir=$shards" "${small[@]}" train.batch=8 train.steps=8 optim.warmup=2 checkpoint.every=4 held_out.every=4
       held_out.samples=4 held_out.constant=4 monitor.every=0 threads=1)
cat > "$scratch/check.py" <<'PY'
import collections, json, re, subprocess, sys
path, ranks, first, last, vjepa, run = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6]
shift = float(sys.argv[7]) if len(sys.argv) > 7 else 0
trace = json.load(open(path))
events = trace["traceEvents"]
assert {e["ph"] for e in events} == {"X", "M"}
assert {e["pid"] for e in events} == set(range(ranks)), "not every rank, or others"
meta = collections.defaultdict(dict)
for e in events:
    if e["ph"] == "M": meta[e["name"]][e["pid"], e["tid"]] = e["args"]
for r in range(ranks):
    assert re.fullmatch(rf"rank {r} on \S+", meta["process_name"][r, 0]["name"])
    assert meta["thread_name"][r, 0]["name"] == "computing" and meta["thread_name"][r, 1]["name"] == "communicating"
    clock = meta["clock"][r, 0]
    assert clock["dropped_spans"] == clock["dropped_operations"] == 0
    if r == 0 or not shift: assert clock["offset_us"] == 0, clock
    else: assert abs(clock["offset_us"] - shift) <= clock["error_us"] and 0 < clock["error_us"] < shift / 10, clock

# Spans of a thread lie inside or beside each other; the path to each is remembered.
paths, times = collections.Counter(), {}
for r in range(ranks):
    for thread in (0, 1):
        stack = []
        spans = sorted((e for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) == (r, thread)), key=lambda e: (e["ts"], -e["dur"]))
        assert spans or ranks == 1, f"rank {r}, thread {thread}: nothing"
        for e in spans:
            begin, end = e["ts"], e["ts"] + e["dur"]
            assert e["dur"] >= 0 and begin >= -1e-3, e
            while stack and stack[-1][2] <= begin + 5e-4: stack.pop()
            assert not stack or end <= stack[-1][2] + 2e-3, (e, stack[-1])
            stack.append((e["name"], begin, end))
            if thread == 0:
                paths[r, "/".join(re.sub(r" \d+$", "", s[0]) for s in stack)] += 1
                if e["name"].startswith("step "): times[r, int(e["name"][5:])] = (begin, end)
steps = range(first, last + 1)
assert sorted(times) == sorted((r, s) for r in range(ranks) for s in steps), times
slots = 8 // ranks
for r in range(ranks):
    count = lambda path: paths[r, path] / len(steps)
    for part in ("step", "step/data", "step/update", "step/update/optimiser", "step/update/EMA"): assert count(part) == 1, part
    for part in ("target forward", "context forward", "predictor forward", "loss", "predictor backward", "context backward",
                 "sum of slots"):
        assert count("step/slot/" + part) == slots, (part, count("step/slot/" + part))
    for part, blocks in (("target forward", 2), ("context forward", 2), ("context backward", 2), ("predictor forward", 1),
                         ("predictor backward", 1)):
        assert count(f"step/slot/{part}/block") == slots * blocks, part
    border = sum(s % 4 == 0 for s in steps)
    assert paths[r, "step/save"] == border
    assert paths[r, "step/report/held-out"] == (border if r == 0 else 0)
# The step ends for all at once, and no rank is in the next one while another is in the one before it.
for s in steps:
    for r in range(ranks):
        error = meta["clock"][r, 0]["error_us"]
        assert times[r, s][0] <= times[0, s][1] + error and times[0, s][0] <= times[r, s][1] + error, (s, r, times)

# What the layout says: parameters begin on multiples of 64 elements, units are multiples of quantum * 64 = 512.
units = collections.Counter()
hashes = subprocess.run([vjepa, "checkpoint", "hash", "--per-tensor", run], capture_output=True, text=True, check=True).stdout
for line in hashes.splitlines():
    m = re.match(r"(encoder|predictor)\.(\S+)/param float32 \[([0-9,]+)\]", line)
    if not m: continue
    n = 1
    for d in m[3].split(","): n *= int(d)
    block = re.match(r"(predictor_)?blocks\.(\d+)", m[2])
    unit = "embed" if m[2].startswith("patch_embed") else f"block {int(block[2]) // (4 if block[1] else 1)}" if block else "rest"
    units[m[1], unit] += (n + 63) // 64 * 64
whole = 4 * sum((n + 511) // 512 * 512 for n in units.values())
assert len(units) == 4 + 2, units
sent = collections.Counter()
for e in events:
    if e["ph"] == "X" and e["tid"] == 1: sent[e["pid"], e["args"]["operation"]] += e["args"]["bytes"]
for r in range(ranks if ranks > 1 else 0):
    assert sent[r, "reduce-scatter"] == len(steps) * slots * whole, (sent, whole)
    if "fsdp" in run: assert sent[r, "all-gather"] > len(steps) * whole, (sent, whole)   # weights, as often as needed
    else: assert sent[r, "all-gather"] == len(steps) * whole, (sent, whole)
    operations = [e for e in events if e["ph"] == "X" and e["pid"] == r and e["tid"] == 1]
    about = {e["args"]["unit"] for e in operations if e["args"]["operation"] == "reduce-scatter"}
    assert about == {"encoder patch_embed", "encoder blocks.0", "encoder blocks.1", "encoder norm", "predictor predictor",
                     "predictor predictor_blocks.0-0"}, about
    assert all(e["args"]["asked"] <= e["ts"] + 1e-3 for e in operations)
errors = [round(meta["clock"][r, 0]["error_us"]) for r in range(ranks)]
print(f"{len(events)} events, {whole} bytes of all units, clock errors {errors} us")
PY
check() { python3 "$scratch/check.py" "$@" || fails "check $*"; }

note "two ranks"
ranks 2 timeout 300 "${words[@]}" --run "$scratch/two" train.trace=3:5 > "$scratch/out" 2> "$scratch/err" || { fails "exit $?"; cat "$scratch/err"; }
check "$scratch/two/trace-00000003.json" 2 3 5 "$VJEPA" "$scratch/two"
[ "$(grep -c "trace-00000003.json is written" "$scratch/err")" = 1 ] || fails "it is not said where the trace is"
ranks 2 timeout 300 "${words[@]}" --run "$scratch/zero2" parallel.mode=zero2 parallel.shared_memory=false train.trace=4:4 \
  > "$scratch/out" 2> "$scratch/err" || { fails "zero2: exit $?"; cat "$scratch/err"; }
check "$scratch/zero2/trace-00000004.json" 2 4 4 "$VJEPA" "$scratch/zero2"
ranks 2 timeout 300 "${words[@]}" --run "$scratch/fsdp" parallel.mode=fsdp train.trace=6:7 > "$scratch/out" 2> "$scratch/err" || {
  fails "fsdp: exit $?"; cat "$scratch/err"; }
check "$scratch/fsdp/trace-00000006.json" 2 6 7 "$VJEPA" "$scratch/fsdp"

note "alone, and a run that begins and ends within the range"
"${words[@]}" --run "$scratch/one" --steps 2 train.trace=9:12 > "$scratch/out" 2>&1 || fails "alone"
ls "$scratch/one" | grep -q trace && fails "a trace of steps that were not made"
"${words[@]}" --run "$scratch/one" train.trace=2:9 > "$scratch/out" 2>&1 || fails "alone, to the end"
check "$scratch/one/trace-00000003.json" 1 3 8 "$VJEPA" "$scratch/one"
[ "$("$VJEPA" checkpoint hash "$scratch/one")" = "$("$VJEPA" checkpoint hash "$scratch/two")" ] || fails "traces change the training"

note "ranks whose clocks differ"
if unshare -T --monotonic 1000 true 2> /dev/null; then
  timeout 300 mpirun --oversubscribe --bind-to none -np 1 "${words[@]}" --run "$scratch/clocks" train.trace=3:5 : \
    -np 1 unshare -T --monotonic 1000 --fork "${words[@]}" --run "$scratch/clocks" train.trace=3:5 > "$scratch/out" 2> "$scratch/err" || {
    fails "clocks: exit $?"; cat "$scratch/err"; }
  check "$scratch/clocks/trace-00000003.json" 2 3 5 "$VJEPA" "$scratch/clocks" 1e9
else
  note "no time namespaces here: left out"
fi

note "a file that cannot be written stops nothing"
"${words[@]}" --run "$scratch/full-run" --steps 1 > "$scratch/out" 2>&1 && mkdir -p "$scratch/full-run/trace-00000002.json/x" || fails "alone"
"${words[@]}" --run "$scratch/full-run" --steps 3 train.trace=2:2 > "$scratch/out" 2>&1 || { fails "exit $?"; cat "$scratch/out"; }
grep -q "the trace is lost" "$scratch/out" || fails "a lost trace is not said"
exit $((failures > 0))
