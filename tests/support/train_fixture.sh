# Sourced by tests that train: a scratch folder, small moving videos, shards, and a model of a few milliseconds a step.
# Needs $VJEPA (the program). Sets $scratch, $shards; defines train_small, fails, note.

set -euo pipefail
: "${VJEPA:?the program under test}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
shards=$scratch/shards
failures=0

note() { printf '# %s\n' "$*"; }
fails() { printf 'FAIL: %s\n' "$*"; failures=$((failures + 1)); }

# Four short videos with different motion, made by the ffmpeg program: the same every time (gradients chooses by chance what is not
# said).
make_videos() {
  mkdir -p "$1"
  local i=0 source
  for source in "testsrc2=size=160x120:rate=12" "mandelbrot=size=160x120:rate=12" "life=size=160x120:rate=12:mold=10:ratio=0.3:seed=7" \
                "gradients=size=160x120:rate=12:n=2:c0=red:c1=blue:x0=10:y0=10:x1=150:y1=110:speed=0.05"; do
    ffmpeg -v error -y -f lavfi -i "$source" -t 9 -pix_fmt yuv420p -c:v mpeg4 -q:v 4 "$1/clip$i.avi"
    i=$((i + 1))
  done
}

make_shards() {
  make_videos "$scratch/videos"
  "$VJEPA" data pack --out "$shards" --source "made=$scratch/videos" --window 3 --recode 64 --hold-out 0.2 "$@" > "$scratch/pack.log" 2>&1 || {
    cat "$scratch/pack.log"; exit 1; }
}

# A custom model of 48 x 2 blocks on 32 px x 4 frames: about a hundred steps a second.
small=(model.preset=custom model.width=48 model.depth=2 model.heads=2 model.hidden=96 model.pred_width=48 model.pred_depth=1
       model.pred_heads=2 model.patch=8 model.tubelet=2 model.shard_quantum=8 data.crop=32 'data.fpc=[4]'
       train.batch=4 mask.group=1 train.steps=60 optim.warmup=10 checkpoint.every=10 checkpoint.keep=3 log.every=10
       held_out.every=0 data.threads=1)

# train_small RUN [more words]: pretrains with the settings above.
train_small() {
  local run=$1; shift
  "$VJEPA" pretrain quickstart --run "$run" "data.dir=$shards" "${small[@]}" "$@"
}
