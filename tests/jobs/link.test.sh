# label: slow
# data pack --link: containers of many kinds, the same training as from copied shards, what is shown of linked samples, and what a
# run says of original files that change or are gone.
source tests/support/train_fixture.sh
VJEPA=$(realpath "$VJEPA")

mkdir "$scratch/videos" "$scratch/pictures"
film() { ffmpeg -v error -y -f lavfi -i "$1" -f lavfi -i "sine=440" -t 6 -pix_fmt yuv420p "${@:2}"; }
film "testsrc2=size=128x96:rate=12" -c:v libx264 -g 24 -c:a aac "$scratch/videos/a.mp4"
film "mandelbrot=size=128x96:rate=12" -c:v libx264 -g 24 -c:a aac "$scratch/videos/b.mkv"
film "testsrc=size=128x96:rate=12" -c:v libvpx -b:v 200k -c:a libvorbis "$scratch/videos/c.webm"
film "gradients=size=128x96:rate=12:seed=3" -c:v mpeg4 -bf 2 -q:v 4 -c:a mp2 "$scratch/videos/d.avi"
film "life=size=128x96:rate=12:mold=10:ratio=0.3:seed=7" -c:v libx264 -g 24 -an "$scratch/videos/e.mov"
film "testsrc2=size=128x96:rate=12" -c:v flv1 -q:v 4 -an "$scratch/videos/f.flv"
film "mandelbrot=size=128x96:rate=25" -c:v mpeg2video -q:v 4 -c:a mp2 "$scratch/videos/g.ts"
film "testsrc=size=128x96:rate=12" -c:v mjpeg -q:v 4 -an "$scratch/videos/h.mov"
for i in 1 2 3 4; do ffmpeg -v error -y -f lavfi -i "testsrc2=size=80x60:rate=1" -ss $i -frames:v 1 "$scratch/pictures/p$i.png"; done
words=(--source "films=$scratch/videos"
       --image-source "pictures=$scratch/pictures" --window 2 --hold-out 0.15 --weight films=4 --weight pictures=1)
"$VJEPA" data pack --out "$scratch/copied" "${words[@]}" > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
"$VJEPA" data pack --out "$scratch/linked" "${words[@]}" --link > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
# Of all these only the transport stream cuts packets in pieces.
grep -q 'source films: 3 samples (.*) are copied, not linked: .*(g\.ts, say)' "$scratch/log" || {
  fails "what is copied"; cat "$scratch/log"; }
bytes() { "$VJEPA" data ls "$1" --json | grep -m 1 '"bytes"' | tr -dc 0-9; }
note "$(bytes "$scratch/copied") bytes copied, $(bytes "$scratch/linked") linked"
"$VJEPA" data ls "$scratch/linked" | grep -q '^films .* linked$' || fails "data ls does not say it"
"$VJEPA" data ls "$scratch/copied" | grep -q 'linked' && fails "data ls says it of copied shards"
"$VJEPA" data ls "$scratch/linked" --json | grep -q '"linked": true' || fails "data ls --json does not say it"
grep -q '"version": 1' "$scratch/copied/catalog.json" &&
  grep -q '"version": 2' "$scratch/linked/catalog.json" || fails "versions of the catalogues"
"$VJEPA" data verify "$scratch/linked" > /dev/null || fails "data verify"

# The same samples, pixel by pixel, and the same training, bit by bit.
for row in films:0 films:5 films:9 films:14 films:held-out:0 pictures:2; do
  for k in copied linked; do
    "$VJEPA" data show "$scratch/$k" $row --png "$scratch/$k.png" > "$scratch/$k.txt" || fails "data show $k $row"
  done
  cmp -s "$scratch/copied.png" "$scratch/linked.png" || fails "data show $row: other pictures"
  grep -q "^linked *$scratch/" "$scratch/linked.txt" || {
    fails "data show $row does not say where it is"; cat "$scratch/linked.txt"; }
  diff <(grep -v '^stored\|^linked' "$scratch/copied.txt") \
       <(grep -v '^stored\|^linked' "$scratch/linked.txt") > /dev/null || fails "data show $row differs"
done
"$VJEPA" data show "$scratch/linked" films:0 --json | grep -q "\"linked_file\": \"$scratch/videos/" || fails "data show --json"
for k in copied linked; do
  shards=$scratch/$k train_small "$scratch/run-$k" train.steps=20 'data.fpc=[4]' > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
done
want=$("$VJEPA" checkpoint hash "$scratch/run-copied") got=$("$VJEPA" checkpoint hash "$scratch/run-linked")
note "$want"
[ "$want" = "$got" ] || fails "training from linked shards gives $got"

# Packing that was killed goes on, to the same bytes.
(VJ_FAULT=kill@pack.packed:4 "$VJEPA" data pack --out "$scratch/again" "${words[@]}" --link; exit $?) > "$scratch/log" 2>&1 &&
  fails "not killed"
"$VJEPA" data pack --out "$scratch/again" "${words[@]}" --link > "$scratch/log" 2>&1 || { fails "going on"; cat "$scratch/log"; }
diff -r "$scratch/linked" "$scratch/again" > /dev/null || fails "another result after a kill"
# A list has its own folder, and may name files anywhere.
mkdir "$scratch/lists"
printf '../videos/a.mp4 1\n%s/videos/b.mkv 0\n' "$scratch" > "$scratch/lists/l.txt"
(cd "$scratch/lists" && "$VJEPA" data pack --out ../from-list --source l=l.txt --window 2 --link) > "$scratch/log" 2>&1 || {
  fails "a list"; cat "$scratch/log"; }
"$VJEPA" data verify "$scratch/from-list" > /dev/null || fails "data verify of a list"
status=0; "$VJEPA" data pack --out "$scratch/x" "${words[@]}" --link --recode 64 > "$scratch/log" 2>&1 || status=$?
[ $status -eq 2 ] && grep -q -- "--recode" "$scratch/log" || fails "--link --recode: exit $status"

# One file gone: bad samples with their reason, replaced. All gone at once: storage, not data.
mv "$scratch/videos/e.mov" "$scratch/e.mov"
status=0; "$VJEPA" data verify "$scratch/linked" > "$scratch/log" 2>&1 || status=$?
[ $status -eq 1 ] && grep -q 'linked samples cannot be had, row .*No such file.*e\.mov' "$scratch/log" || {
  fails "data verify: exit $status"; cat "$scratch/log"; }
shards=$scratch/linked train_small "$scratch/run-gone" train.steps=20 > "$scratch/log" 2>&1 || {
  fails "a run without one file"; cat "$scratch/log"; }
grep -q 'is bad and will be replaced: the original file cannot be opened (No such file or directory).*e\.mov' "$scratch/log" || {
  fails "the reason is not said"; cat "$scratch/log"; }
mv "$scratch/videos" "$scratch/unmounted"
status=0; shards=$scratch/linked train_small "$scratch/run-unmounted" > "$scratch/log" 2>&1 || status=$?
[ $status -eq 74 ] && grep -q 'the folder of the original files is not there' "$scratch/log" || {
  fails "no folder: exit $status"; cat "$scratch/log"; }
exit $((failures > 0))
