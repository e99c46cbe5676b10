#!/usr/bin/env bash
# Installs the Debian packages that are listed and missing; silent and quick when all are there.
#
#   jobs/install.sh [FILE]      FILE lists packages, one a line (default .ci/packages.txt)
#
# Needs root, or sudo that asks for no password. Without either it prints the command to run and goes on: what is missing
# may not be needed, and the build says so when it is.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
list=${1:-$top/.ci/packages.txt}
case "$list" in -h | --help) sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;; esac
[ -r "$list" ] || { echo "install: cannot read the list of packages $list" >&2; exit 2; }
mapfile -t wanted < <(sed 's/#.*//' "$list" | tr -s ' \t' '\n' | grep .)

if ! command -v dpkg-query > /dev/null; then
  echo "install: this is no Debian system; install what stands for these packages: ${wanted[*]}" >&2
  exit 0
fi
# One query for all; "ii " is "wanted and installed".
missing=()
declare -A there=()
while read -r state name; do [ "$state" != ii ] || there[$name]=1; done \
  < <(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "${wanted[@]}" 2> /dev/null || true)
for name in "${wanted[@]}"; do [ -n "${there[$name]:-}" ] || missing+=("$name"); done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=()
elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
  as_root=(sudo -n)
else
  echo "install: packages are missing and this user may not install them; as root, run:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 0
fi
echo "install: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 "$@" > "$log" 2>&1; }
# The lists of a fresh image are empty or old, so they are read anew whenever something is missing.
apt update || { tail -n 15 "$log" >&2; echo "install: apt-get update failed; trying with the lists that are there" >&2; }
apt install -y --no-install-recommends "${missing[@]}" || {
  tail -n 30 "$log" >&2
  echo "install: apt-get install ${missing[*]} failed" >&2
  exit 1
}
