# One command per job, the same for people and for CI.

PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench/bin
LOWEST := .venv-lowest/bin
LOWEST_TESTS := $(addprefix tests/, package/test_import package/test_packaging numpy/test_numpy* \
  explanation/test_explanation_picture yolox/test_detections trainer/test_augment* trainer/test_coco* \
  trainer/test_digits trainer/test_evaluate trainer/test_export trainer/test_predict)
DEVICE_TESTS := tests/ops/test_on_devices.py tests/ops/test_transport_on_devices.py
PYTEST := -q -n 2 --dist loadgroup
CPUS := cpu-sse41 cpu-avx2 cpu-avx512
NETWORKS := tests/integrations tests/yolox tests/trainer tests/explanation tests/ops/test_peer_megvii.py \
  tests/package/test_benchmark_peers.py
NETWORKS_IN_SHORT := tests/integrations/test_megvii_training.py tests/integrations/test_mmdet_training.py \
  tests/yolox/test_model.py -k "not every_step and not compile"
CPU_IN_USE := import torch; print('ATen:', torch.backends.cpu.get_cpu_capability()); \
  torch.conv2d(torch.ones(2, 8, 32, 32), torch.ones(8, 8, 3, 3))
PROGRAM := PYTHONPATH=.:tests/support $(BIN)/python tests/programs
# What a sanitized library needs in the process that loads it. Python itself leaks by design. Lines are all that a report
# names; variables too (-g) would more than double the time of the build.
SANITIZE := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -DYOLOX_OPS_ONE_LEVEL -O1 -g1
SANITIZED = YOLOX_OPS_BUILD=build/native-sanitized YOLOX_OPS_CXXFLAGS="$(SANITIZE)"
UNDER_SANITIZERS = LD_PRELOAD="$(shell g++ -print-file-name=libasan.so) $(shell g++ -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0
TEST_SANITIZED = YOLOX_OPS_UNDER_TEST=build/sanitized $(UNDER_SANITIZERS)
SIMULATE_SANITIZED = YOLOX_OPS_PTX_BUILD=build/ptx-sanitized YOLOX_OPS_SERVERS=nvcc-ptx

SEEDS ?= 2

.PHONY: demo build peers test simulator ptx ptx-budget lint bench report bench-compare instructions gpu audit sanitized \
  sanitize fuzz fuzz-sanitized races load largest faults outside cpus $(CPUS) lowest dist clean

# A detector of handwritten digits, trained in about three minutes on two idle cores; its pictures are in demo/.
demo: build
	$(BIN)/yolox-ops demo

# The environment, and the package in it, editable.
build: .venv/ready
	$(BIN)/pip install -q --no-build-isolation --no-deps -e .

.venv/ready: requirements/dev.txt requirements/peers.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -r requirements/dev.txt
	$(BIN)/pip install -q --no-deps -r requirements/peers.txt
	touch $@

# The package yolox 0.3.0, of which tests load one file: it has the import name of pixeltable-yolox, so it is no install.
peers: build/peers/yolox-0.3.0/setup.py

build/peers/yolox-0.3.0/setup.py: .venv/ready
	$(BIN)/pip download -q --no-deps --no-build-isolation --no-binary :all: -d build/peers yolox==0.3.0
	tar -xzf build/peers/yolox-0.3.0.tar.gz -C build/peers
	touch $@

# The tests' processes share the cores: a thread that waits must not spin, as OpenMP's do unless told.
test sanitize: export OMP_WAIT_POLICY = passive

# Everything on the CPU; then the ops' tests on Triton's kernels as they are compiled for a GPU, by the simulator of
# tests/ptx. They take minutes to compile, and lie in build/ptx from then on.
test: build simulator peers
	$(BIN)/python -m pytest $(PYTEST)
	YOLOX_OPS_SERVERS=triton-ptx $(BIN)/python -m pytest $(PYTEST) -m "not heavy" -k triton-ptx tests/ops

# What executes compiled kernels on a CPU, and, where nvcc is found, the CUDA kernels for it.
simulator: .venv/ready
	$(BIN)/python tests/ptx/build.py

# The simulator's own tests; what devices promise, on nvcc's kernels and on Triton's; the ops' tests on nvcc's. A seed
# draws the order of blocks and warps.
ptx: export OMP_WAIT_POLICY = passive
ptx: build simulator
	YOLOX_OPS_SERVERS="nvcc-ptx triton-ptx" $(BIN)/python -m pytest $(PYTEST) tests/ptx $(DEVICE_TESTS)
	for seed in $(SEEDS); do \
	  YOLOX_OPS_SERVERS=nvcc-ptx YOLOX_OPS_PTX_SEED=$$seed \
	    $(BIN)/python -m pytest $(PYTEST) -m "not heavy" -k nvcc-ptx tests/ops || exit; done

# What those kernels execute, and how long that takes GPUs by a model, beside the record; OPTIONS=--record renews that.
ptx-budget: build simulator
	$(BIN)/python -m benchmarks.ptx_budget $(OPTIONS)

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files --cached --others --exclude-standard csrc 'tests/ptx/*.cpp' 'tests/ptx/*.h')
	$(BIN)/mypy
	$(BIN)/python -m benchmarks.report --check

# The benchmarks have an environment of their own, with all peers that can be had.
.venv-bench/ready: requirements/dev.txt requirements/peers.txt requirements/bench.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/pip install -q -r requirements/dev.txt
	$(BENCH)/pip install -q --no-deps -r requirements/peers.txt -r requirements/bench.txt
	touch $@

# Every case verifies its answer before it is timed. The result is named after the machine.
bench: .venv-bench/ready
	$(BENCH)/pip install -q --no-build-isolation --no-deps -e .
	$(BENCH)/python -m pytest -q benchmarks --benchmark-columns=median,iqr,rounds \
	  --benchmark-json="benchmarks/results/$$($(BENCH)/python -m benchmarks.machine).json"

# benchmarks/REPORT.md, its charts and README's section on speed, from the results in benchmarks/results/.
report: build
	$(BIN)/python -m benchmarks.report

# Two results side by side: make bench-compare A=old.json B=new.json
bench-compare: build
	$(BIN)/python -m benchmarks.compare "$(A)" "$(B)"

# Instructions of a call of every op, as valgrind counts them, beside their record; OPTIONS=--record renews that.
instructions: build
	$(BIN)/python -m benchmarks.instructions $(OPTIONS)

# What needs a GPU, with the Python that is there and no network; all is in OUT/gpu.tar.gz. A call takes ten minutes at
# most: make gpu OUT=dir, then the same with PARTS=bench; PARTS="build sanitize" on its own.
gpu:
	PYTHON=$(PYTHON) tools/gpu.sh "$(OUT)" "$(PARTS)"

# The libraries for torch use nothing but its stable ABI. The one for NumPy is Python's and knows nothing of torch.
audit: build
	$(BIN)/torch-abi-audit --check torch yolox_ops/_C*.so

# The tests of C++ once more, under AddressSanitizer and UndefinedBehaviorSanitizer; and what devices promise, with the
# host code of the CUDA kernels under them.
sanitize: sanitized
	$(TEST_SANITIZED) $(BIN)/python -m pytest -o pythonpath="build/sanitized . tests/support tests/programs" $(PYTEST) \
	  -m "not heavy and not plain"
	$(SIMULATE_SANITIZED) $(SANITIZED) $(BIN)/python tests/ptx/build.py
	$(SIMULATE_SANITIZED) $(UNDER_SANITIZERS) $(BIN)/python -m pytest $(PYTEST) -k nvcc-ptx $(DEVICE_TESTS)

sanitized: build
	$(SANITIZED) CUDA_HOME= $(BIN)/python setup.py -q build --build-lib build/sanitized

# Drawn calls of every entry point, valid and not, for so many minutes.
fuzz: build
	$(BIN)/python -m fuzz --minutes $(or $(MINUTES),1)

# The same under both sanitizers. -P: not the package that lies in the checkout.
fuzz-sanitized: sanitized
	$(TEST_SANITIZED) PYTHONPATH="build/sanitized:.:tests/support" $(BIN)/python -P -m fuzz --minutes $(or $(MINUTES),10)

# Every op under ThreadSanitizer, on threads that it sees in place of OpenMP's.
races: build
	YOLOX_OPS_BUILD=build/native-threads YOLOX_OPS_CXXFLAGS="-fsanitize=thread -DYOLOX_OPS_ONE_LEVEL -O1 -g1" CUDA_HOME= \
	  $(BIN)/python setup.py -q build --build-lib build/threads
	$(PROGRAM)/races.py build/threads

# All ops from 64 threads and 8 processes at once: answers and memory.
load: build
	$(PROGRAM)/load.py --minutes $(or $(MINUTES),4)

# Tiny trainings, killed at random moments.
faults: build
	$(PROGRAM)/faults.py --kills $(or $(KILLS),100)

# The files that the commands write, by strace.
outside: build
	$(PROGRAM)/outside.py

# Every op beyond 2^31 elements; it takes up to 12 GB.
largest: build
	$(PROGRAM)/largest.py

# The tests that compute networks, with the kernels of older CPUs, which any newer one can play, and on one, two and three
# threads. Some eight minutes of processor time a setting, and with SHORT=1, the files that compare most, 40 seconds.
cpus: $(CPUS)

$(CPUS): export OMP_WAIT_POLICY = passive
cpu-sse41: export ONEDNN_MAX_CPU_ISA = SSE41
cpu-sse41: export ATEN_CPU_CAPABILITY = default
cpu-sse41: export OMP_NUM_THREADS = 1
cpu-avx2: export ONEDNN_MAX_CPU_ISA = AVX2
cpu-avx2: export ATEN_CPU_CAPABILITY = avx2
cpu-avx2: export OMP_NUM_THREADS = 2
cpu-avx512: export ONEDNN_MAX_CPU_ISA = AVX512_CORE
cpu-avx512: export OMP_NUM_THREADS = 3
cpu-avx2 cpu-avx512: PYTEST = -q
$(CPUS): build peers
	@echo "$@: $$OMP_NUM_THREADS threads" $$(ONEDNN_VERBOSE=1 $(BIN)/python -c "$(CPU_IN_USE)" | grep -oE "isa:.*|ATen:.*")
	$(BIN)/python -m pytest $(PYTEST) $(if $(SHORT),$(NETWORKS_IN_SHORT),$(NETWORKS))

# Tests on the lowest versions that pyproject.toml admits. Old packages warn of one another, which is no fault of ours.
lowest: export OMP_WAIT_POLICY = passive
lowest: .venv-lowest/ready
	CUDA_HOME= $(LOWEST)/pip install -q --no-build-isolation --no-deps -e .
	$(LOWEST)/python -m pytest $(PYTEST) -o filterwarnings=default -m "not heavy" -k "not megvii" \
	  $(filter-out %_megvii.py,$(wildcard $(LOWEST_TESTS:%=%.py)))

.venv-lowest/ready: requirements/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/pip install -q -r requirements/lowest.txt
	touch $@

# What a release uploads: an sdist and a manylinux wheel in dist/, checked, installed and run. CUDA_HOME= leaves out CUDA.
dist: .venv-dist/ready
	.venv-dist/bin/python -m tools.dist

.venv-dist/ready: requirements/dev.txt requirements/dist.txt
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/pip install -q -r requirements/dist.txt $$(grep -E "^(torch|setuptools|ninja|pybind11)==" requirements/dev.txt)
	touch $@

clean:
	rm -rf build demo dist *.egg-info yolox_ops/*.so
