#!/usr/bin/env bash
# What only a GPU can show, without a network: make gpu OUT=dir [PARTS="build test"].
#
# It fits a machine that is borrowed for 15 minutes and ends a command after 10: PARTS="build test", then PARTS=bench
# while that machine is still there. The sanitizers take another: PARTS="build sanitize". OUT gets one file, as few come
# back: gpu.tar.gz, with logs, JUnit's XML and results/MACHINE.json.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:?usage: tools/gpu.sh OUT [PARTS]}")
parts=${2:-build test}
export PYTHON=${PYTHON:-python3}
export OMP_WAIT_POLICY=passive # as in make test
failed="" unsupported=""
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
mkdir -p "$out" "$logs/results"

asked() {
  [[ " $parts " == *" $1 "* ]]
}

say() {
  echo "$@" | tee -a "$logs/summary.txt"
}

# part NAME SECONDS COMMAND...: runs it if asked for, its output in NAME.log. At its limit it is interrupted, whereupon
# pytest writes what it has, and 20 s later killed. What there is by then is packed, in case no more can be.
part() {
  local name=$1 seconds=$2 log=$logs/$1.log began=$SECONDS status verdict
  shift 2
  asked "${name%%-*}" || return 0
  timeout -s INT -k 20 "$seconds" "$@" > "$log" 2>&1
  status=$?
  if ((status == 0)); then
    verdict=passed
  elif grep -q "Device not supported" "$log"; then
    verdict=unsupported unsupported+=" $name"
  elif ((status == 124 || status == 137)); then
    verdict="FAILED (stopped after $seconds s)" failed+=" $name"
  else
    verdict="FAILED ($status)" failed+=" $name"
  fi
  say "== $name: $verdict, $((SECONDS - began)) s"
  tail -n 12 "$log"
  tar -czf "$out/gpu.tar.gz" -C "$logs" .
}

say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader)"
"$PYTHON" -c "import torch; assert torch.cuda.is_available(), 'torch sees no GPU, and every test would be skipped'" || exit 1
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
export YOLOX_OPS_CUDA_ARCHS=${YOLOX_OPS_CUDA_ARCHS:-$capability}

# -W default, here and below: another torch or Triton may warn of what this one does not.
part build 120 bash -ec '
  "$PYTHON" -m pip install -v --no-build-isolation --no-deps --no-index -e .
  "$PYTHON" -m yolox_ops info
  "$PYTHON" -m pytest -q -W default tests/ops/test_cuda_build.py'

# Triton's kernels, which compile for minutes, after the others: if time runs out, it is theirs.
workers=(-n $(($(nproc) * 3 / 4)) --dist loadgroup)
if asked test && ! "$PYTHON" -c "import xdist"; then
  workers=()
  say "without pytest-xdist the tests run one after the other, and may not end in time"
fi
gpu_tests=$(grep -lE "implementations\(|device_kernels\(|mark\.cuda" --exclude="test_peer_*" tests/*/test_*.py)
part test-cuda 160 "$PYTHON" -m pytest -q -W default "${workers[@]}" -m cuda -k "not triton" \
  --junitxml "$logs/test-cuda.xml" $gpu_tests
part test-triton 160 "$PYTHON" -m pytest -q -W default "${workers[@]}" -m cuda -k triton \
  --junitxml "$logs/test-triton.xml" $gpu_tests

if asked bench; then
  result=$logs/results/$("$PYTHON" -m benchmarks.machine).json
fi
part bench 290 "$PYTHON" -m pytest -q -W default benchmarks/bench_gpu.py --benchmark-columns=min,median \
  --benchmark-json "${result:-}"

# Every allocation on its own, so that a step outside is seen. Errors of the API are torch's way to ask what there is.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck racecheck initcheck; do
  # Memory that the tests fill in advance counts as written.
  [[ $tool != initcheck ]] || export YOLOX_OPS_UNFILLED=1
  part "sanitize-$tool" 120 compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 1 \
    "$PYTHON" -m pytest -q -W default -m cuda -k "not triton and not tiles and not rounds" \
    tests/ops/test_on_devices.py tests/ops/test_transport_on_devices.py
done

[[ -z $unsupported ]] || say "UNSUPPORTED, so not run:$unsupported"
[[ -z $failed ]] || say "FAILED:$failed"
tar -czf "$out/gpu.tar.gz" -C "$logs" .
[[ -z $failed ]]
