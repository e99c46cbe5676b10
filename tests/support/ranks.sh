# Sourced by tests of several ranks: `ranks N COMMAND...` starts N of it. mpirun counts cores and does not like root.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ranks() { local n=$1; shift; mpirun --oversubscribe --bind-to none -np "$n" "$@"; }
command -v mpirun > /dev/null || { echo "FAIL: mpirun is missing: install openmpi-bin (.ci/packages.txt)"; exit 1; }
