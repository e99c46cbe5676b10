# cmake --install into a scratch prefix: the program runs from there with an empty environment, finds the configurations beside
# it, and the manual and completion that it makes of its own tables are read by man, bash and zsh.
set -uo pipefail
: "${VJEPA:?the program under test}" "${VJ_BUILD:?the build folder}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
fails() { printf 'FAIL: %s\n' "$*"; failures=$((failures + 1)); }
prefix=$scratch/prefix
cmake --install "$VJ_BUILD" --prefix "$prefix" > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
cd "$scratch" || exit 1
vjepa() { env -i "$prefix/bin/vjepa" "$@"; }

for file in bin/vjepa share/man/man1/vjepa.1 share/bash-completion/completions/vjepa share/zsh/site-functions/_vjepa \
            share/vjepa/configs/quickstart.yaml share/vjepa/configs/cooldown/vitl16-64x384.yaml; do
  [ -s "$prefix/$file" ] || fails "$file is not installed"
done
vjepa --version | grep -qE '^vjepa [0-9.]+$' || fails "no version"

# Configurations: found beside the program, with their bases; a file that is changed there wins; without them the built-in ones.
vjepa config show cooldown/vitl16-64x384 --origin > shown || fails "a built-in configuration is not found"
grep -q "$prefix/share/vjepa/configs/cooldown/vitl16-64x384.yaml:" shown || fails "the installed file is not used"
grep -q "pretrain/vitl16.yaml:" shown || fails "the base of an installed file is not found"
sed -i 's/^  steps: .*/  steps: 1234/' "$prefix/share/vjepa/configs/quickstart.yaml"
[ "$(vjepa config show quickstart --json | jq '."train.steps".value')" = 1234 ] || fails "a changed installed file does not win"
vjepa config ls --json | jq -e --arg d "$prefix/share/vjepa/configs" '.folder == $d and (.configs | length) > 10 and (.configs | all(.file != ""))' \
  > /dev/null || fails "config ls does not name the installed files"
mv "$prefix/share/vjepa/configs" away
vjepa config show quickstart | grep -q "steps: 1300" || fails "without installed files the built-in ones are not used"
vjepa config ls | grep -q "^pretrain/vitl16 " || fails "config ls does not list pretrain/vitl16"
mv away "$prefix/share/vjepa/configs"

# The same tables everywhere: every command of --help is in the manual and in both completions, with all its options.
vjepa --help | sed -n 's/^  \([a-z]\{2,\}\)  .*/\1/p' > commands
[ "$(wc -l < commands)" -ge 7 ] || fails "only $(wc -l < commands) commands in --help"
man=$prefix/share/man/man1/vjepa.1
bash_script=$prefix/share/bash-completion/completions/vjepa
zsh_script=$prefix/share/zsh/site-functions/_vjepa
vjepa help --man | cmp -s - "$man" || fails "the installed manual is not what the program makes"
vjepa help --completion bash | cmp -s - "$bash_script" || fails "the installed bash completion is not what the program makes"
vjepa help --completion zsh | cmp -s - "$zsh_script" || fails "the installed zsh completion is not what the program makes"
grep -q '^usage: ' "$man" "$bash_script" "$zsh_script" && fails "a command prints its help instead of describing itself"
while read -r command; do
  vjepa help "$command" > one || fails "help $command fails"
  vjepa "$command" --help | cmp -s - one || fails "help $command is not $command --help"
  subs=$(sed -n 's/^  \([a-z]\{2,\}\)  .*/\1/p' one)
  grep -q '^usage: vjepa [a-z]* COMMAND' one || subs=""
  for words in ${subs:-.}; do
    words=$command${subs:+ $words}
    # shellcheck disable=SC2086
    vjepa help $words > one
    head -n 1 one | grep -q "^usage: vjepa $words" || fails "help $words: no usage"
    grep -q "^\.SS vjepa $words\$" "$man" || fails "the manual does not hold '$words'"
    for option in $(grep -oE '^  --[a-z-]+' one | tr -d ' '); do
      [ "$option" = --help ] || sed -n "/^\.SS vjepa $words\$/,/^\.S[SH] /p" "$man" | grep -qF -- "\\fB${option//-/\\-}\\fR" || fails "the manual of '$words' does not hold $option"
      grep "^    '$words') echo " "$bash_script" | head -n 1 | grep -q -- " $option[ ']" || fails "bash: '$words' does not know $option"
    done
    grep -q "^    '$words') _arguments" "$zsh_script" || fails "zsh: '$words' is unknown"
  done
done < commands

if command -v man > /dev/null; then
  warnings=$(env -i PATH="$PATH" LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l "$man" 2>&1 > page)
  [ -z "$warnings" ] || fails "man: $warnings"
  for text in "vjepa data pack --out SHARDS" "EXIT STATUS" "optim.lr" "VJ_LOG" "metrics.jsonl"; do grep -qF -- "$text" page || fails "the manual's page does not show: $text"; done
else
  echo "# man is missing: the manual was not rendered"
fi

bash -n "$bash_script" || fails "bash does not read its completion"
cat > complete.bash <<'BASH'
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_vjepa 2> /dev/null
printf '%s ' "${COMPREPLY[@]}"
BASH
completes() {   # completes WANTED WORDS...: what is offered for the last word
  local want=$1 got; shift
  got=$(bash complete.bash "$bash_script" vjepa "$@")
  [ "$got" = "$want " ] || fails "bash offers '$got' instead of '$want' for: vjepa $*"
}
mkdir -p some-folder; : > some-file.safetensors
completes data dat
completes pack data pa
completes pack help data pa
completes "--hold-out" data pack --ho
completes "cooldown/vitl16-64x384" config show cooldown/vitl16-64x3
completes "optim.lr=" config show quickstart optim.lr
completes some-folder checkpoint hash some-
completes some-folder pretrain quickstart --run some-
completes some-folder pretrain quickstart --run = some-
completes some-file.safetensors parity --model some-fi
completes "" data verify x --threads ""
completes "" config show quickstart optim.lr = 1
if command -v zsh > /dev/null; then zsh -n "$zsh_script" || fails "zsh does not read its completion"; else echo "# zsh is missing: its script was not read"; fi

# A prefix that is not there yet and DESTDIR, as packagers use them.
DESTDIR=$scratch/dest cmake --install "$VJ_BUILD" --prefix /usr > "$scratch/log" 2>&1 || { cat "$scratch/log"; fails "DESTDIR"; }
[ -s "$scratch/dest/usr/share/man/man1/vjepa.1" ] && [ -x "$scratch/dest/usr/bin/vjepa" ] || fails "DESTDIR is not obeyed"
exit $((failures > 0))
