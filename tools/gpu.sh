#!/usr/bin/env bash
# What only a GPU can show, without a network: make gpu OUT=dir [PARTS="build test sanitize bench"].
# Logs and benchmark JSON go to OUT. Each part has a limit, all together ten minutes; run parts apart if that is short.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:?usage: tools/gpu.sh OUT [PARTS]}")
parts=${2:-build test sanitize bench}
python=${PYTHON:-python3}
failed=""
mkdir -p "$out"

# part NAME SECONDS COMMAND...: runs it if asked for, its output in OUT/NAME.log.
part() {
  local name=$1 seconds=$2
  shift 2
  [[ " $parts " == *" ${name%%-*} "* ]] || return 0
  local began=$SECONDS
  if timeout "$seconds" "$@" > "$out/$name.log" 2>&1; then verdict=passed; else verdict="FAILED ($?)" failed+=" $name"; fi
  echo "== $name: $verdict in $((SECONDS - began)) s"
  tail -n 12 "$out/$name.log"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/gpu.txt"
"$python" -c "import torch; assert torch.cuda.is_available(), 'torch sees no GPU, and every test would be skipped'" || exit 1
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
export YOLOX_OPS_CUDA_ARCHS=${YOLOX_OPS_CUDA_ARCHS:-$capability}

part build 180 "$python" -m pip install -v --no-build-isolation --no-deps --no-index -e .
part build-info 60 "$python" -m yolox_ops info
# -W default: another torch or Triton may warn of what this one does not.
part test 300 "$python" -m pytest -q -W default -n 4 --dist loadgroup -m cuda --ignore=tests/integrations/test_mmdet.py --junitxml "$out/test.xml"
# Every allocation on its own, so that a step outside is seen.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck racecheck initcheck; do
  part "sanitize-$tool" 90 compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" -m pytest -q -W default -m cuda \
    tests/ops/test_on_devices.py tests/ops/test_transport_on_devices.py -k "cuda and not tiles and not rounds"
done
unset PYTORCH_NO_CUDA_MEMORY_CACHING
part bench 180 "$python" -m pytest -q -W default benchmarks/bench_gpu.py --benchmark-columns=min,median --benchmark-json "$out/bench.json"

[[ -z $failed ]] || echo "FAILED:$failed"
[[ -z $failed ]]
