# label: slow
# data pack, killed at every record of its journal and at every system call that changes a folder, out of disk, stopped, with
# files changed in between, with a torn journal: the same command makes the bytes of an uninterrupted packing.
source tests/support/train_fixture.sh

make_videos "$scratch/videos"
head -c 3000 /dev/urandom > "$scratch/videos/broken.mp4"
mkdir "$scratch/images"
for i in 1 2 3; do
  ffmpeg -v error -y -f lavfi -i "testsrc2=size=60x40" -frames:v 1 "$scratch/images/p$i.png"
done
(cd "$scratch/videos" && printf '%s,%d\n' clip0.avi 3 clip2.avi 1 > "$scratch/videos/list.csv")
files=9   # 4 videos, 2 of the list, 3 images: one record each when packed
out=$scratch/out
words=(--source "made=$scratch/videos" --source "listed=$scratch/videos/list.csv" --image-source "pictures=$scratch/images"
       --window 2 --recode 32 --gop 4 --hold-out 0.2 --weight pictures=2 --max-shard-bytes 65536)
pack() {   # pack [more words]; what the shell says of a kill goes to the log too
  ("$VJEPA" data pack --out "$out" "${words[@]}" "$@"; exit $?) > "$scratch/log" 2>&1
}
ends() {   # ends CODE WHAT COMMAND...
  local code=$1 what=$2 status=0; shift 2
  "$@" || status=$?
  [ $status -eq "$code" ] || { fails "$what: exit $status instead of $code"; cat "$scratch/log"; }
}
says() { grep -q -- "$1" "$scratch/log" || { fails "$2: no '$1'"; cat "$scratch/log"; }; }
whole() {   # whole WHAT: the result is that of an uninterrupted packing, and nothing else is in the folder
  diff -r "$scratch/want" "$out" > "$scratch/diff" 2>&1 || { fails "$1: another result"; cat "$scratch/diff"; }
}
packed_now() { grep -c '^pack.packed ' "$1" || true; }

ends 0 "uninterrupted" pack --threads 1
says "left out: 1 files" "uninterrupted"
mv "$out" "$scratch/want"
VJ_FAULT_TRACE=$scratch/trace ends 0 "traced" pack --threads 2
whole "two threads"
[ "$(packed_now "$scratch/trace")" -eq $files ] || fails "not $files files packed"
shards=$(ls "$out" | grep -c '\.h5$')
[ "$shards" -ge 6 ] || fails "only $shards shards"

kills=0
for point in pack.head pack.life pack.scan pack.packed pack.synced pack.source pack.finished create rename fsync fsync_dir pwrite; do
  step=1
  [ $point != pwrite ] || step=7   # they are many, and most lie between two of the others
  for ((n = 1; ; n += step)); do
    rm -rf "$out" "$scratch/trace"
    threads=$((1 + n % 2)) status=0
    VJ_FAULT=kill@$point:$n pack --threads $threads || status=$?
    [ $status -ne 0 ] || break
    [ $status -eq 137 ] || { fails "kill@$point:$n: exit $status"; cat "$scratch/log"; }
    kills=$((kills + 1))
    VJ_FAULT_TRACE=$scratch/trace ends 0 "after kill@$point:$n" pack --threads $((3 - threads))
    whole "after kill@$point:$n"
    # Nothing is packed twice: all records up to the one that was not written were believed.
    if [ $point = pack.packed ]; then
      [ "$(packed_now "$scratch/trace")" -eq $((files - n + 1)) ] || fails "kill@$point:$n: $(packed_now "$scratch/trace") files packed again"
    fi
    if [ $point = pack.finished ] || [ $point = pack.source ] && [ $n -eq 3 ]; then
      [ "$(grep -c '^create .*spool' "$scratch/trace")" -le 2 ] || fails "kill@$point:$n: finished sources are made again"
    fi
    [ $failures -lt 5 ] || exit 1
  done
  note "$point: $(((n - 1) / step)) kills"
  [ $n -gt 1 ] || fails "$point is never reached"
done
note "$kills kills in all"
[ $kills -ge 60 ] || fails "only $kills kills"

# Life after life, each killed at its second record.
rm -rf "$out"; lives=0
while :; do
  status=0
  VJ_FAULT=kill@pack.packed:2 pack --threads 2 || status=$?
  [ $status -eq 137 ] || break
  lives=$((lives + 1))
done
ends 0 "the last of many lives" test $status -eq 0
whole "after $lives lives"
[ $lives -ge 4 ] || fails "only $lives lives"

for fault in fail@pack.scan:2 fail@pack.packed:4 fail@pack.source:2 fail@create:3 fail@pwrite:9 fail@pwrite:60 fail@rename:2 fail@fsync:4; do
  rm -rf "$out"
  VJ_FAULT=$fault ends 74 "$fault" pack --threads 2
  says "start the same command again" "$fault"
  [ -f "$out/.tmp-pack/journal" ] || fails "$fault: the work folder is gone"
  ends 0 "after $fault" pack --threads 2
  whole "after $fault"
done

# Stopped from outside while a long video is packed: the stop is obeyed between two windows.
mkdir "$scratch/long"
ffmpeg -v error -y -f lavfi -i "testsrc2=size=640x480:rate=25" -t 40 -c:v mpeg4 -q:v 4 "$scratch/long/a.avi"
ffmpeg -v error -y -f lavfi -i "testsrc2=size=64x48:rate=25" -t 4 -c:v mpeg4 -q:v 4 "$scratch/long/0.avi"
long=(--source "long=$scratch/long" --window 1 --recode 240 --hold-out 0.1 --threads 1)
"$VJEPA" data pack --out "$scratch/long-want" "${long[@]}" > "$scratch/log" 2>&1
stopped=0
for try in 1 2 3; do
  rm -rf "$out"
  "$VJEPA" data pack --out "$out" "${long[@]}" > "$scratch/log" 2>&1 & pid=$!
  until [ -s "$out/.tmp-pack/spool-0-1-0" ] || ! kill -0 $pid 2> /dev/null; do sleep 0.01; done
  kill -$([ $try = 2 ] && echo TERM || echo INT) $pid 2> /dev/null || true
  status=0; wait $pid || status=$?
  case $status in
    75) says "start the same command again" "stopped"; stopped=$((stopped + 1)) ;;
    0) continue ;;
    *) fails "stopped: exit $status"; cat "$scratch/log" ;;
  esac
  ends 0 "after a stop" "$VJEPA" data pack --out "$out" "${long[@]}" > "$scratch/log" 2>&1
  diff -r "$scratch/long-want" "$out" > "$scratch/diff" || { fails "after a stop: another result"; cat "$scratch/diff"; }
done
[ $stopped -ge 1 ] || fails "never stopped"
note "stopped $stopped times of 3"

begin() { rm -rf "$out"; VJ_FAULT=kill@pack.packed:${1:-6} ends 137 "a beginning" pack --threads 1; }

# Another command, another list.
begin
cp -r "$out" "$scratch/before"
ends 2 "another command" pack --crf 30
says "another command" "another command"; says "--gop 4" "another command"; says "--force" "another command"
diff -r "$scratch/before" "$out" || fails "a refusal changed the folder"
cp "$scratch/videos/list.csv" "$scratch/list.kept"
printf 'clip1.avi,5\n' >> "$scratch/videos/list.csv"
ends 2 "another list" pack
says "a list of files has changed" "another list"
cp "$scratch/list.kept" "$scratch/videos/list.csv"
ends 0 "the first command again" pack
whole "the first command again"
begin
ends 0 "--force" pack --crf 30 --force
ends 2 "shards are there" pack
ends 0 "--force over shards" pack --force
whole "--force over shards"
rm -rf "$out".old-*

# --force as part of the command goes on too.
begin 1; rm -rf "$out"
VJ_FAULT=kill@pack.packed:6 ends 137 "--force from the start" pack --threads 1 --force
rm -f "$scratch/trace"
VJ_FAULT_TRACE=$scratch/trace ends 0 "--force goes on" pack --threads 1 --force
[ "$(packed_now "$scratch/trace")" -eq $((files - 5)) ] || fails "--force of the same command begins anew"
whole "--force goes on"

# A torn end, damage in the middle, a spool cut or damaged: what cannot be believed is made again.
journal=$out/.tmp-pack/journal
for harm in 'truncate -s -3' 'truncate -s -200' 'truncate -s 700' 'truncate -s 20' 'truncate -s 3' 'truncate -s 0' 'rm'; do
  begin; $harm "$journal"
  ends 0 "$harm" pack
  whole "$harm"
done
begin; printf 'XXXX' | dd of="$journal" bs=1 seek=600 conv=notrunc 2> /dev/null
ends 0 "a damaged journal" pack
whole "a damaged journal"
begin; truncate -s -900 "$(ls -S "$out"/.tmp-pack/spool-* | head -n 1)"
ends 0 "a spool cut short" pack
whole "a spool cut short"
begin 4; printf 'XXXX' | dd of="$(ls -S "$out"/.tmp-pack/spool-* | head -n 1)" bs=1 seek=100 conv=notrunc 2> /dev/null
ends 0 "a damaged spool that was never synced" pack
whole "a damaged spool that was never synced"
printf 'vjepa packing 2\n' > "$scratch/newer"
begin; cp "$scratch/newer" "$journal"
ends 2 "another version" pack
says "another version" "another version"
ends 0 "another version, --force" pack --force
whole "another version, --force"

# Files that change, come and go between two lives: the result is that of packing what is there now.
begin 7   # all of the first source and one of the second are packed
cp -p "$scratch/videos/clip0.avi" "$scratch/clip0.kept"
cp "$scratch/videos/clip1.avi" "$scratch/videos/clip0.avi"
cp "$scratch/images/p1.png" "$scratch/images/p0.png"
ends 0 "changed files" pack
says "packed again" "changed files"
mv "$out" "$scratch/changed"
ends 0 "changed files, uninterrupted" pack
diff -r "$scratch/changed" "$out" > "$scratch/diff" || { fails "changed files: another result"; cat "$scratch/diff"; }
diff -rq "$scratch/want" "$out" > /dev/null && fails "the changed files change nothing"
cp -p "$scratch/clip0.kept" "$scratch/videos/clip0.avi"; rm "$scratch/images/p0.png" "$scratch/videos/clip3.avi"
ends 0 "a file gone, uninterrupted" pack --force
rm -rf "$scratch/changed" "$out".old-*; mv "$out" "$scratch/changed"
cp "$scratch/clip0.kept" "$scratch/videos/clip3.avi"
begin 3
rm "$scratch/videos/clip3.avi"
ends 0 "a file gone" pack
diff -r "$scratch/changed" "$out" > "$scratch/diff" || { fails "a file gone: another result"; cat "$scratch/diff"; }
exit $((failures > 0))
