#!/usr/bin/env bash
# From a bare Debian 12 to a trained and cooled-down video model: installs what is missing, builds the program, gets real
# videos, packs them into shards, trains, cools down at higher resolution, and says how it went.
#
#   jobs/quickstart.sh [--videos DIR] [--run DIR] [--fresh] [--threads N]
#
#   --videos DIR   your own videos instead of the ones that come with Debian's opencv-doc
#   --run DIR      where everything goes (default runs/quickstart)
#   --fresh        move an earlier quickstart aside and start anew
#   --threads N    threads to train with (default: all CPUs this process may use)
#
# Ctrl-C stops at the next step with a checkpoint; the same command continues. Everything is inside the run's folder:
# videos/, shards/, pretrain/, cooldown/.
set -euo pipefail

usage() { sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//'; }
say() { printf '\n== %s\n' "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit "${2:-1}"; }

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
asked="$*"
videos="" run="" fresh="" threads=""
while [ $# -gt 0 ]; do
  case "$1" in
    --videos) [ $# -ge 2 ] || { echo "quickstart: --videos needs a folder" >&2; exit 2; }; videos=$2; shift 2 ;;
    --run) [ $# -ge 2 ] || { echo "quickstart: --run needs a folder" >&2; exit 2; }; run=$2; shift 2 ;;
    --threads) [ $# -ge 2 ] || { echo "quickstart: --threads needs a number" >&2; exit 2; }; threads=$2; shift 2 ;;
    --fresh) fresh=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "quickstart: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
if [ -n "$videos" ]; then
  [ -d "$videos" ] || { echo "quickstart: --videos $videos: no such folder" >&2; exit 2; }
  videos=$(cd "$videos" && pwd)
fi
case "${run:-}" in "") run=$top/runs/quickstart ;; /*) ;; *) run=$PWD/$run ;; esac
cd "$top"
started=$(date +%s)
vjepa=build/release/vjepa
over=()
[ -z "$threads" ] || over+=("threads=$threads")

# A run answers Ctrl-C with a checkpoint and exit 75; the script then says how to go on instead of dying in the middle.
train() {
  local status=0
  "$@" || status=$?
  if [ $status -eq 75 ]; then
    echo; echo "Stopped with a checkpoint. The same command continues: jobs/quickstart.sh $asked"
    exit 75
  fi
  return $status
}

say "1/6 packages"
jobs/install.sh

say "2/6 build (build/release)"
cmake --preset release > build-quickstart.log 2>&1 && cmake --build --preset release --target vjepa >> build-quickstart.log 2>&1 || {
  tail -n 30 build-quickstart.log >&2; die "the build failed; its whole output is in build-quickstart.log"; }
rm -f build-quickstart.log
$vjepa --version

if [ -n "$fresh" ] && [ -e "$run" ]; then
  old=$run.old-$(date +%Y%m%d-%H%M%S)
  mv "$run" "$old"
  echo "moved the earlier quickstart to $old"
fi
mkdir -p "$run"

say "3/6 videos"
if [ -n "$videos" ]; then
  echo "your own: $videos"
  printf '%s\n' "$videos" > "$run/videos.txt"
elif [ -d "$run/videos" ]; then
  videos=$run/videos
  echo "there already: $videos"
else
  # The package is only downloaded and unpacked, not installed: that needs no root, and works on images that drop
  # /usr/share/doc.
  tmp=$run/videos.tmp
  rm -rf "$tmp"; mkdir -p "$tmp/deb" "$tmp/videos"
  ( cd "$tmp/deb" && apt-get download opencv-doc dataset-fashion-mnist > download.log 2>&1 ) || {
    cat "$tmp/deb/download.log" >&2
    die "cannot download Debian's opencv-doc; run 'apt-get update' as root, or use your own videos with --videos DIR"; }
  for deb in "$tmp"/deb/*.deb; do dpkg-deb -x "$deb" "$tmp/x"; done
  data=$tmp/x/usr/share/doc/opencv-doc
  cp "$data"/examples/data/{vtest,tree,Megamind}.avi "$tmp/videos/"
  for name in box cup; do gzip -dc "$data/opencv4/html/$name.mp4.gz" > "$tmp/videos/$name.mp4"; done
  mkdir -p "$tmp/images"
  cp "$tmp"/x/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz "$tmp/images/"
  rm -rf "$run/images"
  mv "$tmp/images" "$run/images"
  mv "$tmp/videos" "$run/videos"
  rm -rf "$tmp"
  videos=$run/videos
fi
ls -l "$videos" | tail -n +2 | awk '{printf "  %s  %.1f MB\n", $NF, $5/1e6}' | head -n 12

say "4/6 shards"
if [ -f "$run/shards/catalog.json" ]; then
  echo "there already: $run/shards"
else
  images=()
  [ ! -d "$run/images" ] || images=(--image-source "fashion=$run/images" --limit 2000)
  $vjepa data pack --out "$run/shards" --source "videos=$videos" "${images[@]}" --weight videos=9 \
    ${images[0]:+--weight fashion=1} --window 4 --recode 112 --gop 4 --hold-out 0.1
fi
$vjepa data ls "$run/shards"

say "5/6 pretraining: warm-up, then constant learning rate (Ctrl-C stops, the same command continues)"
pretrain_started=$(date +%s)
train $vjepa pretrain configs/quickstart.yaml --run "$run/pretrain" "data.dir=$run/shards" "${over[@]}"

say "6/6 cooldown at higher resolution and more frames"
cooldown_started=$(date +%s)
train $vjepa cooldown configs/quickstart-cooldown.yaml --from "$run/pretrain" --run "$run/cooldown" "data.dir=$run/shards" "${over[@]}"
$vjepa report "$run/cooldown" "$run/pretrain" --out "$run/report.html" > /dev/null
ended=$(date +%s)

# summary.json is written one key a line, which is all that is needed here.
figure() { sed -n "s/^ *\"$2\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$run/$1/summary.json" | head -n 1; }
phase() {
  awk -v name="$1" -v seconds="$2" -v steps="$(figure "$1" step)" -v crop="$(figure "$1" crop)" -v frames="$(figure "$1" frames)" \
      -v loss="$(figure "$1" loss)" -v ratio="$(figure "$1" ratio)" -v swapped="$(figure "$1" swapped_ratio)" \
      -v moved="$(figure "$1" moved)" 'BEGIN {
    printf "  %-9s %5d steps, %2d frames x %3d px, %4d s\n", name, steps, frames, crop, seconds
    if (ratio != "") {
      printf "            held-out loss %.4f = %.2f x the best constant (below 1: it learned; lower is better)\n", loss, ratio
      if (swapped != "null") printf "            against another clip'"'"'s targets: %.2f x (near or above 1: predictions belong to their clip)\n", swapped
      if (moved != "null") printf "            the target encoder has moved by %.2f of its start\n", moved
    } }'
}
cat <<END

==========================================================================================
A V-JEPA 2 model (encoder, predictor, EMA target encoder) was trained on
  $videos
and cooled down at higher resolution from its constant-phase checkpoint, in $((ended - started)) s all together.

END
phase pretrain $((cooldown_started - pretrain_started))
phase cooldown $((ended - cooldown_started))
cat <<END

  shards      $run/shards
  pretrain    $run/pretrain   (metrics.jsonl, config.yaml, ckpt/)
  cooldown    $run/cooldown
  report      $run/report.html   (open it in a browser: did it learn, curves, masks, features)
  checkpoint  $($vjepa checkpoint hash "$run/cooldown" | cut -c 1-16)...  (vjepa checkpoint hash: same seed, same bits)

What to try next:
  jobs/quickstart.sh --videos DIR --run runs/mine       the same on your own videos
  $vjepa checkpoint show $run/cooldown
  $vjepa data order $run/shards --from 0 --to 8         what the model was shown
  $vjepa config show configs/pretrain/vitl16.yaml       the paper's recipe, ready for more machines
==========================================================================================
END
