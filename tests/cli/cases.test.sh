# Wrong command lines, configurations and files: exit code and message of each case in cases.txt (README.md says how).
set -uo pipefail

: "${VJEPA:?the program under test}"
cases=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/cases.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1

# ---- what the cases find ----
mkdir empty videos
echo "just a text" > text
printf 'optim:\n\tlr: 1\n' > tab.yaml
printf 'seed: 1\nseed: 2\n' > twice.yaml
printf 'optim:\n  lrr: 1\n' > typo.yaml
printf 'base: loop.yaml\n' > loop.yaml
head -c 4096 "$VJEPA" > binary
ffmpeg -v error -f lavfi -i testsrc2=size=64x48:rate=8 -t 4 -pix_fmt yuv420p -c:v mpeg4 videos/a.avi || exit 1
"$VJEPA" data pack --out shards --source made=videos --window 2 > pack.log 2>&1 || { cat pack.log; exit 1; }
shard=made-00000.h5
[ -f "shards/$shard" ] || { echo "no shards/$shard: $(ls shards)"; exit 1; }
for copy in flipped truncated shardless badcatalog; do cp -r shards "$copy"; done
size=$(stat -c %s "shards/$shard")
for at in $((size / 3)) $((size / 2)) $((size * 3 / 4)); do
  printf '\x5a\xa5\x5a\xa5' | dd of="flipped/$shard" bs=1 seek="$at" conv=notrunc status=none
done
truncate -s $((size / 2)) "truncated/$shard"
rm "shardless/$shard"
echo '{"version": 1,' > badcatalog/catalog.json
before=$(find . -type f | sort | xargs sha256sum)

failures=0 n=0 line=0
fails() { printf 'FAIL: cases.txt:%d: %s\n' "$line" "$*"; failures=$((failures + 1)); }
trim() { sed -E 's/^[[:space:]]+//; s/[[:space:]]+$//' <<< "$1"; }

while IFS= read -r text; do
  line=$((line + 1))
  case "$text" in "" | "#"*) continue ;; esac
  code=$(trim "${text%% | *}")
  rest=${text#* | }
  pattern=$(trim "${rest%% |*}")
  words=$(trim "${rest#* |}")
  setting=""
  case "$words" in *" @ "*) setting=${words%% @ *}; words=${words#* @ } ;; esac
  status=0
  # `env -u`: what the caller's environment holds must not decide.
  timeout 60 env -u VJ_LOG -u VJ_CPU -u VJ_FAULT -u VJ_FAULT_TRACE $setting bash -c "exec \"\$0\" $words" "$VJEPA" > out 2> err < /dev/null || status=$?
  n=$((n + 1))
  [ $status = "$code" ] || fails "exit $status instead of $code: vjepa $words: $(head -c 600 err)"
  case "$pattern" in
    "> "*) grep -qE -- "${pattern#> }" out || fails "no '${pattern#> }' on stdout of: vjepa $words: $(head -c 600 out)" ;;
    *)
      grep -qE -- "$pattern" err || fails "no '$pattern' in the message of: vjepa $words: $(head -c 600 err)"
      case "$words" in "data verify"*) ;; *) [ ! -s out ] || fails "something on stdout: vjepa $words: $(head -c 200 out)" ;; esac ;;
  esac
  [ -z "$(tail -c 1 err)" ] || fails "the last line has no end: vjepa $words"
  ! grep -qE 'Sanitizer|runtime error' err || fails "a sanitizer spoke: vjepa $words: $(head -c 2000 err)"
  rm -f out err
done < "$cases"
[ $n -gt 50 ] || fails "only $n cases were read"
line=0
[ "$(find . -type f | sort | xargs sha256sum)" = "$before" ] || fails "a refused command made or changed a file: $(find . -newer pack.log -type f | head)"
echo "$n cases"
exit $((failures > 0))
