#!/usr/bin/env bash
# Builds everything and runs the tests.
#
#   tests/run.sh [--quick] [--label L] [--build-only]
#
#   (nothing)      release build and all its tests but soak and bench; then the dev profile (-Werror, build only); then the
#                  unit tests under AddressSanitizer and UBSan; then the threaded ones under ThreadSanitizer; then a minute of
#                  fuzzing (clang)
#   --quick        release build and the labels unit and lint
#   --label L      release build and one label (unit, lint, slow, soak, bench)
#   --build-only   the builds alone
#
# VJ_TEST_JOBS: compilations and tests at a time (default 2). The last line stands alone:
# "N passed, N failed, N skipped".
set -uo pipefail

usage() { sed -n '2,14p' "$0" | sed 's/^# \{0,1\}//'; }
quick="" label="" build_only=""
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes; shift ;;
    --label) [ $# -ge 2 ] || { echo "run.sh: --label needs a name" >&2; exit 2; }; label=$2; shift 2 ;;
    --build-only) build_only=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "run.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
jobs=${VJ_TEST_JOBS:-2}
case "$jobs" in "" | *[!0-9]* | 0) echo "run.sh: VJ_TEST_JOBS=$jobs: a number from 1 was expected" >&2; exit 2 ;; esac
passed=0 failed=0
skips=() repeats=()
started=$SECONDS
say() { printf '\n== %s  (%d s)\n' "$*" $((SECONDS - started)); }
# A step that is no test (packages, a build) and failed counts as one failure.
broke() { failed=$((failed + 1)); repeats+=("$1"); }

build() {   # build PROFILE
  local log=build/$1.log
  mkdir -p build
  say "build $1"
  if cmake --preset "$1" > "$log" 2>&1 && cmake --build --preset "$1" --parallel "$jobs" >> "$log" 2>&1; then
    grep -E 'warning:' "$log" | sort -u
    return 0
  fi
  # The compiler's own lines, or the end of the output when there are none.
  grep -nE 'error:|FAILED:|CMake Error' "$log" | head -n 20
  tail -n 20 "$log"
  broke "cmake --preset $1 && cmake --build --preset $1"
  return 1
}

run_ctest() {   # run_ctest PROFILE ctest options...: runs, adds up, remembers skips and failures
  local profile=$1 log=build/$1-tests.log name line; shift
  say "tests $profile"
  # Every test has a line "12/40 Test  #3: data.pack ....   Passed    0.51 sec".
  ctest --preset "$profile" --parallel "$jobs" --no-tests=ignore --output-on-failure "$@" 2>&1 | tee "$log" |
    grep --line-buffered -vE '^ *Start +[0-9]+:|^Test project'
  while read -r line; do
    name=$(sed -E 's/^.*Test +#[0-9]+: ([^ ]+) .*$/\1/' <<< "$line")
    case "$line" in
      *" Passed "*) passed=$((passed + 1)) ;;
      *"***Skipped"* | *"***Not Run (Disabled)"*) skips+=("$name ($profile)") ;;
      *) failed=$((failed + 1)); repeats+=("ctest --preset $profile -R '^${name//./\\.}\$'") ;;
    esac
  done < <(grep -E '^ *[0-9]+/[0-9]+ Test +#[0-9]+: ' "$log")
  # cmocka's own skips inside a program that passed.
  while read -r line; do skips+=("$line ($profile)"); done < <(skipped_cases "build/$profile")
}

# Names of single cases that skipped themselves: ctest keeps the whole output of the last run.
skipped_cases() { sed -nE 's/^\[  SKIPPED \] ([A-Za-z_][A-Za-z0-9_]*)$/\1/p' "$1/Testing/Temporary/LastTest.log" 2> /dev/null | sort -u; }

jobs/install.sh || broke "jobs/install.sh"
# These rooms handle memory and foreign bytes by hand; the ones after run threads.
asan_tests='^(runtime|parallel|model|data|checkpoints|configs|evals|cli|fuzz)\.'
tsan_tests='^(runtime\.(thread|metrics|log)|data\.(loader|read_faults|shard|pack)|checkpoints\.(writers|async))$'
# Leaks in the handlers of cmocka's failed tests say nothing; a failed check of UBSan shows its stack.
export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1

if build release && [ -z "$build_only" ]; then
  if [ -n "$label" ]; then run_ctest release -L "^$label\$"
  elif [ -n "$quick" ]; then run_ctest release -L '^(unit|lint)$'
  else run_ctest release -LE '^(soak|bench)$'
  fi
fi
if [ -z "$quick$label" ]; then
  build dev
  build asan && [ -z "$build_only" ] && run_ctest asan -L '^unit$' -R "$asan_tests"
  build tsan && [ -z "$build_only" ] && run_ctest tsan -R "$tsan_tests"
  if build fuzz && [ -z "$build_only" ]; then
    say "fuzzing, 60 s"
    if tests/fuzz/smoke.sh 60; then passed=$((passed + 1)); else broke "tests/fuzz/smoke.sh 60"; fi
  fi
fi

if [ ${#skips[@]} -gt 0 ]; then
  say "skipped"
  printf '  %s\n' "${skips[@]}"
fi
if [ $failed -gt 0 ]; then
  say "to repeat a failure alone"
  printf '  %s\n' "${repeats[@]}"
fi
# A run of nothing is no success.
if [ -z "$build_only" ] && [ $((passed + failed + ${#skips[@]})) = 0 ]; then
  echo "run.sh: no test was found${label:+ with the label $label}" >&2
  failed=1
fi
printf '\n%d passed, %d failed, %d skipped\n' $passed $failed ${#skips[@]}
[ $failed = 0 ]
