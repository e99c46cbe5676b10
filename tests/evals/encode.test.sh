# label: slow
# `vjepa encode`: the same bytes whatever the threads, sizes and times as documented, pooled = mean of tokens, both containers
# hold the same numbers, broken videos are left out and said, and memory does not grow with a video's length.
source tests/support/train_fixture.sh
make_shards
train_small "$scratch/run" train.steps=6 optim.warmup=2 checkpoint.every=6 > "$scratch/log" 2>&1 || { fails "train"; cat "$scratch/log"; }
cd "$scratch/videos"
encode() { "$VJEPA" encode --checkpoint "$scratch/run" "$@" > "$scratch/out" 2> "$scratch/err" || { fails "encode $*: exit $?"; cat "$scratch/err"; }; }

encode clip0.avi clip1.avi --out "$scratch/a.safetensors" --layers 0,-1 --threads 1
encode clip0.avi clip1.avi --out "$scratch/b.safetensors" --layers 0,1 --threads 2
cmp -s "$scratch/a.safetensors" "$scratch/b.safetensors" || fails "2 threads, or -1 for the last block, give other bytes"
encode clip0.avi clip1.avi --out "$scratch/pool.safetensors" --layers 0,-1 --pool mean
encode clip0.avi clip1.avi --out "$scratch/c.h5" --layers 0,-1
encode clip0.avi --out "$scratch/views.safetensors" --clips 5 --crops 3 --png "$scratch/p.png" --json
grep -q '"clips": 5' "$scratch/out" || fails "--json does not say five clips"
[ "$(head -c 8 "$scratch/p.png" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fails "--png wrote no PNG"

python3 - "$scratch" <<'PY' || fails "the numbers do not fit together"
import array, json, sys
def load(name):
    raw = open(sys.argv[1] + "/" + name, "rb").read()
    n = int.from_bytes(raw[:8], "little"); head = json.loads(raw[8:8 + n]); out = {}
    for k, v in head.items():
        if k == "__metadata__": continue
        a, b = v["data_offsets"]
        x = array.array("f" if v["dtype"] == "F32" else "d"); x.frombytes(raw[8 + n + a:8 + n + b]); out[k] = (v["shape"], x)
    return head["__metadata__"], out, raw
meta, a, _ = load("a.safetensors")
assert meta["layers"] == "0,1" and meta["pool"] == "none" and meta["network"] == "target_encoder" and meta["checkpoint"].endswith("step-00000006"), meta
_, pool, _ = load("pool.safetensors")
h5 = open(sys.argv[1] + "/c.h5", "rb").read()
for clip in ("clip0.avi", "clip1.avi"):
    shape, x = a[clip + "/features"]
    assert shape[0] == 9 and shape[1:] == [1, 2, 32, 48], shape         # 9 s in clips of 4 frames at 4 a second
    times = a[clip + "/times"][1]
    assert list(times[:4]) == [0, 1, 1, 2], list(times[:4])
    pshape, p = pool[clip + "/features"]
    assert pshape == [9, 1, 2, 48]
    for row in range(18):
        for c in range(0, 48, 7):
            mean = sum(x[(row * 32 + t) * 48 + c] for t in range(32)) / 32
            assert abs(mean - p[row * 48 + c]) < 1e-5
    assert x.tobytes() in h5, "HDF5 holds other numbers"
assert a["clip0.avi/features"][1] != a["clip1.avi/features"][1]
_, v, _ = load("views.safetensors")
assert v["clip0.avi/features"][0] == [5, 3, 1, 32, 48]
PY

note "broken videos"
head -c 3000 clip0.avi > broken.avi; echo text > text.mp4
status=0; "$VJEPA" encode --checkpoint "$scratch/run" clip0.avi text.mp4 clip1.avi --out "$scratch/some.safetensors" --layers 0,-1 > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 1 ] && grep -q "1 of 3 videos could not be decoded" "$scratch/err" || { fails "one broken video: exit $status"; cat "$scratch/err"; }
cmp -s "$scratch/some.safetensors" "$scratch/a.safetensors" || fails "the other videos have other features"
status=0; "$VJEPA" encode --checkpoint "$scratch/run" text.mp4 --out "$scratch/none.safetensors" > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 65 ] && [ ! -e "$scratch/none.safetensors" ] || { fails "only broken videos: exit $status"; cat "$scratch/err"; }
[ -z "$(ls "$scratch" | grep -E 'spool|tmp-')" ] || fails "something is left over: $(ls "$scratch")"

note "a long video takes no more memory than a short one"
for seconds in 10 600; do
  ffmpeg -v error -y -f lavfi -i "testsrc2=size=64x48:rate=5" -t $seconds -pix_fmt yuv420p -c:v mpeg4 "long$seconds.avi"
done
peak() { # the program's own figure is not printed, so the kernel is asked
  python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' \
    "$VJEPA" encode --checkpoint "$scratch/run" "$1" --out "$scratch/long.safetensors" --threads 1
}
short=$(peak long10.avi) long=$(peak long600.avi)
note "peak memory: $short KB for 10 s, $long KB for 600 s"
[ $((long - short)) -lt 4096 ] || [ "$VJ_TEST_PROFILE" = asan ] || fails "600 s need $((long - short)) KB more than 10 s"
[ $failures = 0 ]
