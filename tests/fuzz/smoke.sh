#!/usr/bin/env bash
# smoke.sh [SECONDS]: every fuzz target of build/fuzz for its share of SECONDS (default 60) from its corpus. A finding is kept
# in build/fuzz/findings and fails. The last line says how many inputs were tried.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-60}
targets=(build/fuzz/fuzz_*)
[ -x "${targets[0]}" ] || { echo "smoke.sh: build/fuzz holds no targets: cmake --preset fuzz && cmake --build --preset fuzz" >&2; exit 2; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p build/fuzz/findings
share=$(((seconds + ${#targets[@]} - 1) / ${#targets[@]})) total=0 failed=0
for target in "${targets[@]}"; do
  [ -x "$target" ] && [ ! -d "$target" ] || continue
  name=${target##*/fuzz_}
  mkdir "$work/$name"
  if "$target" -max_total_time="$share" -timeout=20 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1 \
       -artifact_prefix="build/fuzz/findings/$name-" "$work/$name" "tests/fuzz/corpus/$name" > "$work/log" 2>&1; then
    n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
    total=$((total + n))
    printf '%-12s %8d inputs, %s\n' "$name" "$n" "$(grep -oE 'cov: [0-9]+' "$work/log" | tail -n 1)"
  else
    failed=1
    echo "$name: FAILED"
    grep -vE '^#[0-9]+' "$work/log" | tail -n 40
  fi
done
echo "$total inputs"
exit $failed
