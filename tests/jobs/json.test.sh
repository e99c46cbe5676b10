# --json: every command that prints facts prints one JSON document that another program reads, with the keys that its help
# names, and the same facts as its text.
source tests/support/train_fixture.sh
command -v jq > /dev/null || { echo "jq is missing (.ci/packages.txt)"; exit 1; }
make_shards
run=$scratch/run
train_small "$run" train.steps=4 optim.warmup=1 checkpoint.every=2 held_out.every=4 > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }

# json CODE FILTER WORDS...: exit code, exactly one document on stdout, and a jq filter that must be true of it.
n=0
json() {
  local code=$1 filter=$2 status=0; shift 2
  n=$((n + 1))
  timeout 120 "$VJEPA" "$@" --json > "$scratch/out" 2> "$scratch/err" < /dev/null || status=$?
  [ $status -eq "$code" ] || { fails "exit $status instead of $code: $*"; cat "$scratch/err"; }
  [ "$(jq -s length "$scratch/out" 2>&1)" = 1 ] || { fails "not one JSON document: $*"; head -c 400 "$scratch/out"; return; }
  jq -e "$filter" "$scratch/out" > /dev/null || { fails "not true of $*: $filter"; head -c 1500 "$scratch/out"; }
  [ "$code" -ne 0 ] || ! grep -q "error:" "$scratch/err" || fails "an error is said: $*"
}

json 0 '.samples > 0 and .files == 4 and .bad_files == 0 and .shards >= 1 and .bytes > 1000' \
  data pack --out "$scratch/again" --source "made=$scratch/videos" --window 3
json 0 '.ok and .damaged == 0 and .problems == [] and .samples > 0' data verify "$shards"
cp -r "$shards" "$scratch/flipped"
shard=$(ls "$scratch"/flipped/*.h5 | head -n 1)
printf '\x5a\xa5\x5a\xa5' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
json 1 '.ok == false and .damaged == 1 and (.problems | length) == 1' data verify "$scratch/flipped"
json 0 '(.sources | length) == 1 and .sources[0].name == "made" and .sources[0].samples > 0' data ls "$shards"
json 0 '(.samples | length) == 5 and .samples[0].g == 3 and .samples[4].g == 7 and (.samples[0].key | length) == 16' \
  data order "$shards" --from 3 --to 8
"$VJEPA" data order "$shards" --from 3 --to 8 | tail -n +2 | cut -f 1,2,5,6 > "$scratch/text"
jq -r '.samples[] | [.g, .source, .row, .key] | @tsv' "$scratch/out" | cmp -s - "$scratch/text" || fails "data order: JSON and text differ"

json 0 '.source == "made" and .row == 0 and .media == "video" and .frames > 8 and .width > 0 and (.file | endswith(".avi") or endswith(".mp4") or endswith(".mkv"))' \
  data show "$shards" made:0 --png "$scratch/show.png"
key=$(jq -r .key "$scratch/out")
[ "$(od -An -tx1 -N8 "$scratch/show.png" | tr -d ' ')" = 89504e470d0a1a0a ] || fails "data show: no picture was written"
json 0 '.key == "'"$key"'" and .row == 0' data show "$shards" "$key"

json 0 '[.checkpoints[].step] == [2, 4] and (.checkpoints | all(.valid and .bytes > 0))' checkpoint ls "$run"
json 0 '.step == 4 and .phase == "pretrain" and (.networks | length) == 3 and (.config_yaml | contains("width: 48"))' checkpoint show "$run"
json 0 '.hash | length == 64' checkpoint hash "$run"
[ "$(jq -r .hash "$scratch/out")" = "$("$VJEPA" checkpoint hash "$run")" ] || fails "checkpoint hash: JSON and text differ"
json 0 '(.lines | length) > 20 and (.lines[0] | test("^encoder[.].* float32 .* [0-9a-f]{64}$")) and (.lines | index("step 2")) != null' checkpoint hash "$run@2" --per-tensor
json 0 '.ok and .problem == ""' checkpoint verify "$run"
shard=$(ls "$run"/ckpt/step-00000002/*.h5 | head -n 1)
printf '\x5a\xa5\x5a\xa5' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
json 1 '.ok == false and (.problem | contains("step-00000002"))' checkpoint verify "$run@2"

json 0 '.["optim.lr"] == {value: 0.001, origin: "command line"} and .["data.fpc"].value == [8]
        and .["data.weights"].value == {a: 2.0} and .threads.value >= 1 and .["optim.schedule"].value == "warmup_cosine"' \
  config show quickstart optim.lr=1e-3 'data.fpc=[8]' 'data.weights={a: 2}'
json 0 '.fits and .problem == "" and .encoder_parameters == 1386624 and .memory_bytes.total > 0 and (.masks | length) == 2' \
  config check quickstart
# The expected time is the FLOP over a share of the roof, of every stage by its own slots; larger slots reach more.
near='def near($b): (. / $b - 1) | fabs < 1e-9;'
json 0 "$near"' . as $d | .expected_roof_share as $q | .roof_flop_per_second > 1e6 and $q > 0.3 and $q < 0.9
        and (.step_seconds | near($d.step_flop / ($d.roof_flop_per_second * $q)))
        and (.run_seconds | near($d.step_seconds * 1300))' config check quickstart
json 0 "$near"' . as $d | (.stages | length) == 2 and .stages[1].step_seconds > .stages[0].step_seconds
        and .stages[1].step_flop / .stages[1].step_seconds > .stages[0].step_flop / .stages[0].step_seconds
        and (.run_seconds | near([$d.stages[] | .steps * .step_seconds] | add))' \
  config check quickstart 'stages.from=[0, 500]' 'stages.crop=[64, 96]' 'stages.frames=[8, 16]'
json 0 '.roof_flop_per_second == null and .step_seconds == null and .run_seconds == null and .fits' config check quickstart device=ref
json 2 '.fits == false and (.problem | startswith("does not fit")) and .tokens == 2048' \
  config check pretrain/vitg16 train.batch=1048576 mask.group=1024 data.prefetch=64

golden=tests/golden/parity-float64
json 0 '.agreement and (.kinds | length) == 6 and .worst_over_tolerance <= 1' \
  parity --model $golden/model.safetensors --batch $golden/batch.safetensors --expect $golden/expect.safetensors
json 1 '.agreement == false and .worst_over_tolerance > 1' \
  parity --model $golden/model.safetensors --batch $golden/batch.safetensors --expect $golden/expect.safetensors lr=0.5

# Every command with --json says in its help which keys there are.
for words in "data pack" "data verify" "data ls" "data show" "data order" "checkpoint ls" "checkpoint show" "checkpoint hash" "checkpoint verify" \
             "config show" "config check" parity; do
  # shellcheck disable=SC2086
  "$VJEPA" $words --help > "$scratch/help"
  grep -q "^JSON: \|JSON: " "$scratch/help" && grep -q -- "--json" "$scratch/help" || fails "$words --help says nothing of --json"
done
note "$n documents"
exit $((failures > 0))
