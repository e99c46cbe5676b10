# label: lint
# Folders are architecture: who may include whom, where foreign headers live, how long a file may be.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
problems=$(mktemp)
trap 'rm -f "$problems"' EXIT
rooms=(runtime parallel model data checkpoints configs evals jobs)
mapfile -t files < <(for room in "${rooms[@]}"; do [ ! -d "$room" ] || find "$room" -name '*.[ch]'; done | sort)
mapfile -t tests < <(find tests -name '*.[ch]' | sort)
[ ${#files[@]} -gt 50 ] || { echo "found only ${#files[@]} sources: is this the repository?"; exit 1; }

# FILE:LINE WHAT, WHAT being the included name with its quotes or brackets.
includes() {
  grep -HnoE '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<][^">]+[">]' "$@" |
    sed -E 's/^([^:]+:[0-9]+):.*include[[:space:]]+/\1 /'
}

includes "${files[@]}" "${tests[@]}" | awk '
BEGIN {
  # What a room may include besides itself.
  may["runtime"] = ""
  may["parallel"] = "runtime"
  may["model"] = may["checkpoints"] = "runtime parallel"
  may["data"] = "runtime"
  may["configs"] = "runtime model data"
  may["evals"] = "runtime parallel model data checkpoints configs"
  may["jobs"] = "runtime parallel model data checkpoints configs evals"
  # The same inside runtime; backends.c, the last file of the room, sees all.
  inside["base"] = ""
  inside["log"] = inside["config"] = "base"
  inside["tensor"] = "base log"
  inside["ops"] = "base log tensor"
  inside["ref"] = inside["cpu"] = inside["far"] = "base log tensor ops"
  inside["backends.c"] = "base log config tensor ops ref cpu far"
  # Few homes for each foreign header (prefixes of the files that include it).
  home["hdf5.h"] = "runtime/base/h5.c"
  home["jansson.h"] = "runtime/base/json.c"
  home["xxhash.h"] = "runtime/base/hash.c"
  home["yaml.h"] = "runtime/config/"
  home["dnnl.h"] = home["cblas.h"] = home["omp.h"] = "runtime/cpu/"
  home["libav"] = home["libsw"] = "data/"
  home["zlib.h"] = "data/ runtime/base/png.c runtime/base/hash.c"
  home["mpi.h"] = home["nccl.h"] = "parallel/"
  home["cuda.h"] = home["cuda_"] = home["cubla"] = home["cudnn"] = "runtime/cuda/"
}
function allowed(list, name) { return index(" " list " ", " " name " ") > 0 }
function lives(file, places,   i, n, place) {
  n = split(places, place, " ")
  for (i = 1; i <= n; i++) if (index(file, place[i]) == 1) return 1
  return 0
}
function bad(text) { print $1 ": " text }
{
  split($1, place, ":")
  file = place[1]
  n = split(file, part, "/")
  what = substr($2, 2, length($2) - 2)
  room = part[1]
  is_test = room == "tests"
  if (is_test) room = part[2]
}
$2 ~ /^</ {
  key = what in home ? what : substr(what, 1, 5)
  if (key in home && !lives(file, home[key]) && !(is_test && index(" " home[key], " " room "/"))) {
    bad("<" what "> belongs to " home[key] " alone")
  }
  next
}
{
  k = split(what, inc, "/")
  if (inc[1] == "tests" && is_test) next
  if (k < 2 || !(inc[1] in may)) { bad("\"" what "\": name it from the top of the repository: \"room/.../file.h\""); next }
  if (is_test && !(room in may)) next                        # tests/support serves every room
  if (inc[1] != room && !allowed(may[room], inc[1])) bad(room " may not include " inc[1] "/ (\"" what "\")")
  if (what ~ /_impl\.h$/ && inc[1] != room) bad("\"" what "\" is private to " inc[1] "/")
  if (room == "configs" && inc[1] != "configs" && inc[1] != "runtime" && what !~ /_config\.h$/ && !is_test) {
    bad("configs sees only the *_config.h of other rooms (\"" what "\")")
  }
  # A device holds its table of kernels by value, so the private header of devices sees the private header of ops.
  if (file == "runtime/tensor/device_impl.h" && what == "runtime/ops/ops_impl.h") next
  if (room == "runtime" && !is_test && part[2] != inc[2]) {
    if (!(part[2] in inside)) bad("runtime/" part[2] " is not in the table of this test")
    else if (!allowed(inside[part[2]], inc[2])) bad("runtime/" part[2] " may not include runtime/" inc[2] "/ (\"" what "\")")
  }
}' >> "$problems"

for f in "${files[@]}" "${tests[@]}"; do
  lines=$(wc -l < "$f")
  [ "$lines" -le 900 ] || echo "$f: $lines lines, 900 are the limit: split it" >> "$problems"
done

[ ! -s "$problems" ] || { cat "$problems"; exit 1; }
echo "${#files[@]} sources and ${#tests[@]} test files keep to the layers"
