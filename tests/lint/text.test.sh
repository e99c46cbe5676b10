# label: lint
# Text of the tree: no paths of one machine, a README per room, no tabs or blanks at line ends, links that lead somewhere.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
problems=$(mktemp)
trap 'rm -f "$problems"' EXIT
mapfile -t files < <(find . \( -name .git -o -name build -o -name runs -o -name __pycache__ -o -path ./tests/fuzz/corpus \) -prune -o -type f \
  \( -name '*.[ch]' -o -name '*.sh' -o -name '*.md' -o -name '*.yaml' -o -name '*.txt' -o -name '*.cmake' -o -name '*.json' \
     -o -name '*.py' -o -path './.ci/*' \) -print | sed 's|^\./||' | sort)
[ ${#files[@]} -gt 50 ] || { echo "found only ${#files[@]} files: is this the repository?"; exit 1; }

# A path that exists on one machine only. The name is spelt in pieces so that this file passes.
machine='(^|[^A-Za-z0-9_.$}*-])/(ro''ot|wo''rk|ho''me/[a-z]+|Us''ers)/'
grep -nE "$machine" "${files[@]}" | sed 's/$/   <- a path of one machine/' >> "$problems" || true
grep -nE '[[:blank:]]+$' "${files[@]}" | sed 's/$/   <- blanks at the end of the line/' >> "$problems" || true
grep -nP '\t' $(printf '%s\n' "${files[@]}" | grep -E '\.([ch]|yaml|cmake)$') | sed 's/$/   <- a tab/' >> "$problems" || true
for f in "${files[@]}"; do
  [ ! -s "$f" ] || [ -z "$(tail -c 1 "$f")" ] || echo "$f: the last line has no end" >> "$problems"
done

for room in runtime parallel model data checkpoints configs evals jobs tests; do
  [ -d "$room" ] && [ -n "$(find "$room" -type f -print -quit)" ] || continue
  [ -s "$room/README.md" ] || echo "$room/README.md: missing: what the room owns, reading order, easy to get wrong" >> "$problems"
done

# Every VJ_ variable that the program reads is known to vj_env_check, and explained in runtime/README.md.
for name in $(grep -rhoE 'getenv\("VJ_[A-Z_]+"\)' --include=*.c runtime parallel model data checkpoints configs evals jobs |
              grep -oE 'VJ_[A-Z_]+' | sort -u); do
  grep -q "\"$name\"" runtime/base/env.c || echo "runtime/base/env.c: $name is read somewhere but not known" >> "$problems"
  grep -q "\`$name\`" runtime/README.md 2> /dev/null || echo "runtime/README.md: $name is not explained" >> "$problems"
done
# Every member of a line of metrics.jsonl is in the schema.
for key in $(grep -ohE 'vj_json_put_[a-z0-9]+\(w, "[a-z_]+"' jobs/train/report.c | sed -E 's/.*"([a-z_]+)"/\1/' | sort -u); do
  grep -q "\`$key\`" runtime/README.md 2> /dev/null || echo "runtime/README.md: metrics.jsonl's '$key' is not explained" >> "$problems"
done

# Relative links in Markdown.
for f in $(printf '%s\n' "${files[@]}" | grep '\.md$'); do
  while read -r link; do
    [ -e "$(dirname "$f")/${link%%#*}" ] || echo "$f: the link to $link leads nowhere" >> "$problems"
  done < <(sed '/^ *```/,/^ *```/d; /^    /d; s/`[^`]*`//g' "$f" | grep -oE '\]\([^)#:]+(#[^)]*)?\)' | sed -E 's/^\]\(//; s/\)$//')
done

[ ! -s "$problems" ] || { cat "$problems"; exit 1; }
echo "${#files[@]} files read"
