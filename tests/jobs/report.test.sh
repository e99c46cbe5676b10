# label: slow
# `vjepa report`: one page that stands alone, is well formed, shows the metrics as they are, escapes whatever files say, and is
# written for runs that lack something too.
source tests/support/train_fixture.sh
make_shards

train_small "$scratch/a" train.steps=20 checkpoint.every=5 checkpoint.keep=4 log.every=2 held_out.every=10 held_out.samples=4 held_out.constant=4 > "$scratch/log" 2>&1 || {
  fails "train"; cat "$scratch/log"; }
"$VJEPA" report "$scratch/a" > "$scratch/out" || fails "report"
[ "$(cat "$scratch/out")" = "$scratch/a/report.html" ] || fails "the page's place is not printed"
cp "$scratch/a/report.html" "$scratch/first.html"
"$VJEPA" report "$scratch/a" > /dev/null && cmp -s "$scratch/first.html" "$scratch/a/report.html" || fails "the same run gives other bytes"

# A checker of our own: tags nest, nothing is loaded from elsewhere, and what python's parser sees is text or known tags.
cat > "$scratch/check.py" <<'PY'
import html.parser, re, sys
void = {"meta", "img"}
class P(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(); self.stack = []; self.images = 0; self.text = []; self.polylines = 0
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        assert tag != "script", "a script"
        for k in ("src", "href", "action", "data"):
            if k in a: assert a[k].startswith("data:image/png;base64,") or a[k].startswith("#"), (tag, k, a[k][:60])
        if tag == "img": self.images += 1; assert a.get("alt"), "a picture without a description"
        if tag == "polyline": self.polylines += 1
        if tag not in void: self.stack.append(tag)
    def handle_startendtag(self, tag, attrs):
        if tag == "polyline": self.polylines += 1
    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1] == tag, (tag, self.stack[-3:])
        self.stack.pop()
    def handle_data(self, data): self.text.append(data)
page = open(sys.argv[1]).read()
assert not re.search(r"https?://|@import|url\(", page), "something from elsewhere"
p = P(); p.feed(page); p.close()
assert p.stack == [], p.stack
open(sys.argv[1] + ".text", "w").write(" ".join(p.text))
print(p.images, p.polylines)
PY
counts=$(python3 "$scratch/check.py" "$scratch/a/report.html") || fails "the page is not well formed"
note "pictures and curves: $counts"
# Three clips at most: the frames, two masks, features at four checkpoints each.
[ "${counts% *}" -ge 7 ] || fails "pictures are missing: $counts"
[ "${counts#* }" -ge 10 ] || fails "curves are missing: $counts"

note "the last figures are those of the metrics"
python3 - "$scratch" <<'PY' || fails "figures of the page differ from the metrics"
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1] + "/a/metrics.jsonl")]
text = open(sys.argv[1] + "/a/report.html.text").read()
for key in ("loss", "lr", "momentum", "grad_norm"):
    assert "%.4g" % lines[-1][key] in text, (key, lines[-1][key])
ratio = [l["held_out"]["ratio"] for l in lines if "held_out" in l][-1]
assert "%.4g" % ratio in text and "miss by %.2f times" % ratio in text
PY
"$VJEPA" report "$scratch/a" --json > "$scratch/json" && python3 - "$scratch" <<'PY' || fails "--json"
import json, sys
r = json.load(open(sys.argv[1] + "/json"))["runs"][0]
assert r["step"] == 20 and r["phase"] == "pretrain" and r["broken_lines"] == 0 and r["held_out_ratio"] > 0
PY

note "several runs; hostile names; broken metrics; nothing left but run.json"
evil="$scratch/b<script>alert(1)<"
cp -r "$scratch/a" "$evil"
printf '{"step":21,"loss":"x"}\n\377\376 not json\n{"step":22,"loss":0.5' >> "$evil/metrics.jsonl"
printf '{"step":4,"name":"<b>bold","state":"begins","value":1,"limit":2,"text":"a & b \\"quoted\\" <i>"}\nnonsense\n' > "$evil/warnings.jsonl"
sed -i 's/^seed: .*/seed: "<script>"/' "$evil/config.yaml"
"$VJEPA" report "$scratch/a" "$evil" --out "$scratch/two.html" > /dev/null || fails "two runs"
python3 "$scratch/check.py" "$scratch/two.html" > /dev/null || fails "the page of two runs is not well formed"
grep -q "lines of metrics.jsonl are broken" "$scratch/two.html" || fails "broken lines are not named"
grep -q '&lt;b&gt;bold' "$scratch/two.html" || fails "the warning is not shown"
grep -q 'class="d"' "$scratch/two.html" || fails "keys that differ are not marked"
mkdir "$scratch/c"; cp "$scratch/a/run.json" "$scratch/c/"
"$VJEPA" report "$scratch/c" > /dev/null || fails "a run that left nothing but its name"
python3 "$scratch/check.py" "$scratch/c/report.html" > /dev/null || fails "the page of an empty run is not well formed"
grep -q "There are no pictures" "$scratch/c/report.html" || fails "what is left out is not named"
mv "$shards" "$shards.gone"
"$VJEPA" report "$scratch/a" --out "$scratch/gone.html" > /dev/null || fails "a run whose data is gone"
grep -q "There are no pictures" "$scratch/gone.html" || fails "missing data is not named"

status=0; "$VJEPA" report "$scratch" > "$scratch/out" 2> "$scratch/err" || status=$?
[ $status = 2 ] && grep -q "holds no run" "$scratch/err" || fails "no run: exit $status"
[ $failures = 0 ]
