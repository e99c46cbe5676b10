# vjepa watch: a run seen from its files, as they appear, grow, are cut, are broken, and go away; the terminal is given back.
set -uo pipefail
: "${VJEPA:?the program under test}"
VJEPA=$(realpath "$VJEPA")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
failures=0
fails() { printf 'FAIL: %s\n' "$*"; failures=$((failures + 1)); }
once() { timeout 60 env LC_ALL=C "$VJEPA" watch run --once > out 2> err < /dev/null; }
says() { local text; for text in "$@"; do grep -qF -- "$text" out || { fails "the page does not hold: $text"; cat out; }; done; }
is() { timeout 60 "$VJEPA" watch run --json > json 2> err < /dev/null && jq -e "$1" json > /dev/null || { fails "not true: $1"; cat json err; }; }
metrics() {   # metrics FROM TO: lines of these steps
  local step
  for step in $(seq "$1" 10 "$2"); do
    echo "{\"step\":$step,\"phase\":\"pretrain\",\"schedule\":\"constant\",\"loss\":0.$((900 - step)),\"train_seconds\":$step.0,\"warnings\":[]}"
  done
}

once; [ $? = 2 ] && grep -q "does not exist" err || fails "a run that is not there is no error"
mkdir run
printf 'train:\n  batch: 16\n  steps: 200   # x\nmodel:\n  preset: "tiny"\n' > run/config.yaml
echo '{"run_id":"r1","phase":"pretrain"}' > run/run.json
is '.state == "starting" and .steps == 200 and .run_id == "r1" and .step == 0'
metrics 10 100 > run/metrics.jsonl
mkdir -p run/ckpt/step-00000050 run/ckpt/step-00000100 run/ckpt/step-00000120 run/ckpt/step-00000050.damaged-1
touch run/ckpt/step-00000050/manifest.json run/ckpt/step-00000100/manifest.json
is '.state == "running" and .step == 100 and .lines == 10 and .odd_lines == 0 and .steps_per_second == 1 and .seconds_left == 100
    and .checkpoint_step == 100 and .checkpoints == 2 and .recommended_step == null and .model == "tiny" and .figures.loss == 0.8'
once || fails "--once fails"
says "100 of 200" "50 %" "1 min 40 s left" "0.8 to 0.89" "step 100 (2 kept)" "warnings         none"
grep -q $'\033' out && fails "escape sequences without a terminal"
[ "$(awk '{ if (length($0) > w) w = length($0) } END { print w }' out)" -le 100 ] || fails "a line is too long"

# Ranks: a line where there are several.
cp run/metrics.jsonl before
echo '{"step":101,"loss":0.5,"phase_seconds":{"compute":{"min":0.25,"mean":0.3,"max":0.5},"communication":{"min":0.125,"mean":0.2,"max":0.375}},"ranks":{"count":4,"straggler":-1},"warnings":[]}' >> run/metrics.jsonl
once; says "ranks            4: computing 0.25 to 0.5 s a step, waiting for each other 0.125 to 0.375 s"
mv before run/metrics.jsonl

# Warnings, the recommendation, held-out figures that stay; texts of files cannot steer the terminal.
printf '{"step":110,"loss":0.5,"held_out":{"ratio":0.75},"warnings":["rank\\u001b[2J"]}\n{"step":120,"loss":0.5,"warnings":["rank\\u001b[2J"]}\n{"step":130,"lo' >> run/metrics.jsonl
printf '{"step":110,"name":"rank\\u001b[2J","state":"began","text":"rank fell"}\nno json\n' > run/warnings.jsonl
echo '{"run_id":"r1","phase":"pretrain","recommended":{"step":50,"why":"best ratio"}}' > run/run.json
is '.step == 120 and .odd_lines == 0 and (.warnings | length) == 1 and .warnings[0].text == "rank fell" and .warnings[0].step == 110
    and .recommended_step == 50 and .recommended_why == "best ratio" and .figures["held_out/ratio"] == 0.75'
once; says "WARNING rank?[2J since step 110: rank fell" "step 50: best ratio" "held-out ratio"
grep -q $'\033' out && fails "a file steers the terminal"

# What is long is not cut but goes on below.
why=$(printf 'it is %d words long ' $(seq 18)); echo '{"run_id":"r1","recommended":{"step":50,"why":"'"$why"'"}}' > run/run.json
once; [ "$(grep -A 100 '^recommended' out | tr -s ' \n' ' ' | grep -c 'it is 18 words long')" = 1 ] || fails "the end of a long reason is not there: $(cat out)"
[ "$(awk '{ if (length($0) > w) w = length($0) } END { print w }' out)" -le 100 ] || fails "a line of a long reason is too long"

# Any bytes at all.
head -c 100000 "$VJEPA" > run/metrics.jsonl; cp run/metrics.jsonl run/warnings.jsonl
printf '[]' > run/run.json; printf '\0\0' > run/config.yaml; head -c 3000 "$VJEPA" > run/summary.json
once || fails "broken files: $(cat err)"
rm run/metrics.jsonl; mkfifo run/metrics.jsonl
timeout 10 "$VJEPA" watch run --once > out 2> err; [ $? -ne 124 ] || fails "a pipe of that name holds it up"
rm -r run

# Lines without a terminal: what grows, is cut by a resume, and ends.
(mkdir run; echo '{"run_id":"r1","phase":"pretrain"}' > run/run.json; metrics 10 50 > run/metrics.jsonl)
timeout 60 "$VJEPA" watch run --lines --interval 0.1 > lines 2> err < /dev/null &
pid=$!
wait_line() { local i; for i in $(seq 300); do grep -q "$1" lines && return; sleep 0.1; done; fails "no line with '$1'"; cat lines; }
wait_line "step 50"
metrics 60 90 >> run/metrics.jsonl; wait_line "step 90"
metrics 10 70 > run/new; cat run/new > run/metrics.jsonl; wait_line "step 70"
mv run moved; wait_line "not there any more"
mv moved run; echo '{"step":80,"steps":80,"outcome":"done"}' > run/summary.json; metrics 80 80 >> run/metrics.jsonl; wait_line "step 80 of 80.*done"
wait $pid || fails "lines: exit $? at the end of the run"

# A terminal: another screen, given back by q and by Ctrl-C (which the shell around it gets too: hence the trap).
rm run/summary.json
if command -v script > /dev/null; then
  for key in q "\003"; do
    mkfifo keys
    timeout 60 script -qfec "trap : INT; stty -a > before; TERM=xterm $VJEPA watch run --interval 0.2; echo \$? > code; stty -a > after" typed < keys > /dev/null 2>&1 &
    pid=$!
    exec 7> keys
    for _ in $(seq 200); do grep -aq "step\|of 80\|loss" typed 2> /dev/null && break; sleep 0.1; done
    printf "$key" >&7
    wait $pid
    exec 7>&-
    [ "$(cat code)" = 0 ] || fails "$key: exit $(cat code)"
    grep -aqF $'\033[?1049h' typed && grep -aqF $'\033[?25h'$'\033[?1049l' typed || fails "$key: the screen is not given back"
    cmp -s before after || fails "$key: the terminal is set otherwise afterwards"
    rm -f keys typed code before after
  done
else
  echo "# script is missing: not tried in a terminal"
fi
exit $((failures > 0))
