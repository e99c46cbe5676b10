# A trained checkpoint through the published format and back: the same bits, and the same cooldown. Weights through Hugging
# Face's format, a cooldown from weights alone, pins and pruning.
source tests/support/train_fixture.sh
make_shards
run=$scratch/run
train_small "$run" --steps 20 > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
heads=(--heads 2 --pred-heads 2)
ck() { "$VJEPA" checkpoint "$@"; }
expect() {   # expect CODE TEXT command ...
  local code=$1 text=$2 status=0; shift 2
  "$@" > "$scratch/out" 2>&1 || status=$?
  [ $status = "$code" ] && grep -qE "$text" "$scratch/out" || { cat "$scratch/out"; fails "exit $status, not $code with '$text': $*"; }
}
cool() {   # cool RUN PARENT
  "$VJEPA" cooldown quickstart-cooldown --run "$1" --from "$2" "data.dir=$shards" "${small[@]}" train.steps=6 optim.warmup=0 \
    checkpoint.every=6 > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "cooldown from $2"; }
}

# Weights, moments and Adam's count come back; the data cursor is no part of the format.
expect 0 "the published format" ck export "$run" --format official --out "$scratch/a.pt"
expect 0 "with AdamW's state" ck import "$scratch/a.pt" --out "$scratch/b" "${heads[@]}"
expect 0 "equal bit for bit" ck diff "$run" "$scratch/b"
same=$(ck hash --per-tensor "$run" | grep -c ' float32 ')
both=$( (ck hash --per-tensor "$run"; ck hash --per-tensor "$scratch/b") | grep ' float32 ' | sort | uniq -d | wc -l)
[ "$same" = "$both" ] || fails "$both of $same tensors and moments came back"
ck hash --per-tensor "$scratch/b" | grep -qx 'adam_step 20' || fails "Adam's count did not come back"

expect 0 "" ck export "$scratch/b" --format official --out "$scratch/b.pt"
cmp "$scratch/a.pt" "$scratch/b.pt" || fails "export, import, export gives other bytes"

# Hugging Face's folder: the target encoder by default; its import fills both.
expect 0 "VJEPA2Model" ck export "$run" --format hf --out "$scratch/hf"
expect 0 "its one encoder serves as both" ck import "$scratch/hf" --out "$scratch/c"
expect 1 "encoder.blocks.0.attn.qkv.weight" ck diff "$run" "$scratch/hf"   # the online encoder is another
expect 0 "" ck export "$run" --format hf --out "$scratch/hf-online" --key encoder
expect 1 "encoder.norm.weight" ck diff "$scratch/hf" "$scratch/hf-online"
expect 0 "" ck diff "$scratch/hf" "$scratch/hf-online" --tolerance 100
expect 1 '"agreement": false' ck diff "$scratch/hf" "$scratch/hf-online" --json
expect 1 "only in B" ck diff "$run" tests/golden/formats/hf

# A cooldown from the import has the weights of the parent and takes steps; without moments it says so.
cool "$scratch/cool-b" "$scratch/b"
cool "$scratch/cool-c" "$scratch/c"
grep -q "holds weights alone" "$scratch/cool-c/log.txt" || fails "a cooldown from weights alone does not say so"
expect 2 "belongs to another model" "$VJEPA" cooldown quickstart-cooldown --run "$scratch/other" --from "$scratch/c" "data.dir=$shards" \
  "${small[@]}" model.mask_tokens=7

# init.from: step 0 has the weights of any format; moments and data start anew; a run that exists goes on without the file.
cp -r "$scratch/hf" "$scratch/hf-moved"
for from in "$run" "$scratch/a.pt" "$scratch/hf-moved"; do
  new=$scratch/new-$(basename "$from")
  train_small "$new" "init.from=$from" --steps 0 > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "init.from=$from"; }
  expect 0 "equal bit for bit" ck diff "$new@0" "$from" --weights
  ck hash --per-tensor "$new@0" | grep -qx 'adam_step 0' || fails "init.from=$from took Adam's count"
done
grep -q '"init_sha256": "[0-9a-f]\{64\}"' "$new/run.json" && grep -q "\"init_from\": \"$scratch/hf-moved\"" "$new/run.json" ||
  { cat "$new/run.json"; fails "run.json does not say what the run began with"; }
rm -r "$scratch/hf-moved"
cp -r "$scratch/hf-online" "$scratch/hf-moved"   # other weights under the same name
train_small "$new" "init.from=$scratch/hf-moved" --steps 6 > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "resuming beside other weights"; }
grep -q "holds other weights now" "$scratch/log" || { cat "$scratch/log"; fails "other weights behind init.from are not said"; }
rm -r "$new/ckpt"
expect 2 "has no checkpoint yet, and init.from=.* has changed" train_small "$new" "init.from=$scratch/hf-moved" --steps 6
cp -r "$scratch/hf/." "$scratch/hf-moved"
train_small "$new" "init.from=$scratch/hf-moved" --steps 6 > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "beginning again from the same weights"; }
rm -r "$scratch/hf-moved"
expect 2 "init.from=" train_small "$scratch/no" "init.from=$scratch/hf-moved" --steps 1   # never from scratch in silence
train_small "$new" "init.from=$scratch/hf-moved" --steps 12 > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "resuming without the file"; }
grep -q "cannot be used any more" "$scratch/log" || fails "a missing file of init.from is not said"
start() { "$VJEPA" pretrain quickstart --run "$scratch/no" "data.dir=$shards" "${small[@]}" "$@"; }
expect 2 "has 2 mask tokens, this run 7.*say model.mask_tokens=2" start "init.from=$run" model.mask_tokens=7
expect 2 "was made with 2 heads, this run has model.heads=1" start "init.from=$scratch/hf" model.heads=1
expect 2 "encoder.blocks.0.mlp.fc1.weight is \[96,48\], this model's is \[64,48\]" start "init.from=$scratch/a.pt" model.hidden=64
expect 2 "a cooldown starts from one of them" "$VJEPA" cooldown quickstart-cooldown --run "$scratch/no" --from "$run" "data.dir=$shards" \
  "${small[@]}" train.steps=6 optim.warmup=0 "init.from=$scratch/hf"
anneal() { "$VJEPA" cooldown quickstart-cooldown --run "$1" "data.dir=$shards" "${small[@]}" optim.warmup=0 checkpoint.every=6 "${@:2}"; }
expect 2 "cooldown needs --from REF .*, or init.from=WEIGHTS" anneal "$scratch/no" train.steps=6
expect 2 "has 2 mask tokens, this run 7.*say model.mask_tokens=2" anneal "$scratch/no" train.steps=6 "init.from=$scratch/hf" model.mask_tokens=7
[ ! -e "$scratch/no" ] || fails "a run that could not start left a directory"

# A cooldown from foreign weights: the same weights at its step 0, no moments, a record of where they came from; in stages too.
anneal "$scratch/annealed" train.steps=6 "init.from=$scratch/hf" --steps 0 > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "a cooldown with init.from"; }
expect 0 "equal bit for bit" ck diff "$scratch/annealed@0" "$scratch/hf" --weights
ck hash --per-tensor "$scratch/annealed@0" | grep -qx 'adam_step 0' || fails "the cooldown has a count of Adam's"
grep -q '"phase": "cooldown"' "$scratch/annealed/run.json" && grep -q '"init_sha256": "[0-9a-f]\{64\}"' "$scratch/annealed/run.json" ||
  { cat "$scratch/annealed/run.json"; fails "run.json of a cooldown with init.from"; }
anneal "$scratch/annealed" train.steps=6 "init.from=$scratch/hf" > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "the cooldown cannot go on"; }
expect 0 '"step": 6' ck show "$scratch/annealed" --json
anneal "$scratch/staged" train.steps=6 "init.from=$scratch/a.pt" 'stages.from=[0, 3]' 'stages.crop=[32, 48]' > "$scratch/log" 2>&1 ||
  { cat "$scratch/log"; fails "a cooldown in stages with init.from"; }

# An import may be told what it has to be.
expect 2 "is no vit_large: width 48 instead of 1024, depth [0-9]+ instead of 24" ck import "$scratch/hf" --out "$scratch/none" --model vit_large
expect 2 "vit_lagre.*did you mean vit_large" ck import "$scratch/hf" --out "$scratch/none" --model vit_lagre
[ ! -e "$scratch/none" ] || fails "a refused import left something"

# What exists is not written over, and what is damaged is not exported.
expect 2 "exists already" ck export "$run" --format hf --out "$scratch/hf"
expect 2 "exists already" ck import "$scratch/hf" --out "$run"
expect 2 "give --heads" ck import "$scratch/a.pt" --out "$scratch/none"
cp -r "$run" "$scratch/broken"
shard=$scratch/broken/ckpt/step-00000020/shard-00000-of-00001.h5
printf 'x' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
expect 74 "" ck export "$scratch/broken@20" --format hf --out "$scratch/none"
[ ! -e "$scratch/none" ] || fails "a failed export or import left something"

# Pins: neither training nor prune removes the checkpoint.
expect 0 "is pinned" ck pin "$run@10" --why "before the change of data"
train_small "$run" > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "training on"; }
expect 0 "pinned: before the change of data" ck ls "$run"
ls "$run/ckpt" | grep -q step-00000010 || fails "training removed a pinned checkpoint"
expect 0 "would be removed" ck prune "$run" --keep 1 --dry-run
before=$(ls "$run/ckpt")
[ "$before" = "$(ls "$run/ckpt")" ] || fails "--dry-run removed something"
expect 0 '"stays": true' ck prune "$run" --keep 1 --json
stays=$(printf 'step-%08d\n' 10 60 "$(jq '.recommended.step // 60' "$run/run.json")" | sort -u)   # pinned, newest, recommended
[ "$(ls -d "$run"/ckpt/step-* | xargs -n1 basename)" = "$stays" ] || { ls "$run/ckpt"; fails "prune left something else"; }
expect 0 '"pinned": false' ck unpin "$run@10" --json
expect 0 '"why": "again"' ck pin "$run@10" --why again --json
expect 0 "no longer pinned" ck unpin "$run@10"
expect 2 "is not pinned" ck unpin "$run@10"
echo '{' > "$run/pins.json"
expect 2 "nothing is removed while it cannot be read" ck prune "$run" --keep 1
[ "$failures" = 0 ]
