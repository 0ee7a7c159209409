PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NPM_BIN := node_modules/.bin
PIP_FLAGS := -qq --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo demo-real test test-fast test-slow test-forge invariants guards coverage coverage-contracts lint format proto contracts gas bench-forgetting bench-learning bench-cheats bench-participation campaign fuzz clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

setup: $(VENV)/.installed node_modules/.installed ## Install what make demo needs (leaves .venv/bin/rescind)

setup-dev: setup $(VENV)/.dev-installed node_modules/.dev-installed ## Install what tests, checks, experiments and Hardhat need as well

demo: setup ## Run the consortium of four organizations, start to certificate
	@$(BIN)/rescind demo $(ARGS)

demo-real: setup ## Get SmolLM2-135M once, and run the same with it
	@$(BIN)/rescind model get smollm2
	@$(BIN)/rescind demo --model smollm2 $(ARGS)

# Two workers with a thread each: more threads only wait for one another, and add floats up in another order.
# A file stays on one worker, because its tests share what they set up. Compiled files are kept, even if the environment
# says otherwise: each worker and each process that a test starts would compile everything again.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# Compiling the contracts keeps one core busy while pytest starts, so both run at the same time.
test: setup-dev ## Run all tests but the slow ones
	@mkdir -p runs; FOUNDRY_PROFILE=quick scripts/forge test --no-match-contract 'GasTest|LargeTest' > runs/forge-test.log 2>&1 & forge=$$!; \
	$(PYTEST) -m "not slow" $(ARGS); python=$$?; \
	wait $$forge; forge=$$?; \
	if [ $$forge -ne 0 ]; then cat runs/forge-test.log; else tail -n 1 runs/forge-test.log; fi; \
	[ $$python -eq 0 ] && [ $$forge -eq 0 ]

test-fast: setup-dev ## Run the tests that start no chain or daemon and import no torch
	@$(PYTEST) -m "not (slow or daemons or chain or trains)" $(ARGS)

test-slow: test-forge ## Run what make test leaves out: slow tests, gas, long random plays of the contracts
	@$(PYTEST) -m slow $(ARGS)

# The random plays are too deep for the IR pipeline. Gas and the largest consortium are measured on the published artifacts.
test-forge: setup-dev ## Run the tests of the contracts in full, long fuzzing and gas included
	@FOUNDRY_PROFILE=quick FOUNDRY_FUZZ_RUNS=256 FOUNDRY_INVARIANT_RUNS=16 FOUNDRY_INVARIANT_DEPTH=1000 \
		scripts/forge test --no-match-contract 'GasTest|LargeTest'
	@scripts/forge test --match-contract 'GasTest|LargeTest'

# Two plays, each of 500 runs of 1,000 steps.
invariants: setup-dev ## Play 1,000,000 random steps of everyone on the contracts, and end each play
	@FOUNDRY_PROFILE=quick FOUNDRY_INVARIANT_RUNS=500 FOUNDRY_INVARIANT_DEPTH=1000 scripts/forge test --match-test invariant_ --show-progress

guards: setup-dev ## Remove each guard of the contracts in turn, and say which no test notices (minutes)
	@$(BIN)/python scripts/guards.py $(ARGS)

TARGET ?= all
RUNS ?= 1000000

fuzz: setup-dev ## Fuzz all parsers and proofs, or TARGET=NAME, up to RUNS inputs each (hours; goes on where it was)
	@$(BIN)/python -m tests.fuzz.run $(TARGET) --folder runs/fuzz --runs $(RUNS)

coverage-contracts: setup-dev ## Say how much of the contracts make test's tests in Solidity cover
	@FOUNDRY_PROFILE=quick scripts/forge coverage --report summary --no-match-contract 'GasTest|LargeTest|Invariants'

coverage: setup-dev ## Run make test's tests in Python, and say which lines and branches they miss
	@$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered --cov-report=html:runs/coverage $(ARGS)

lint: setup-dev ## ruff, prose, strict types, import layers, forge fmt and lint, slither
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/check_prose.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	scripts/forge fmt --check
	! scripts/forge lint 2>&1 | grep -A4 "^warning\["
	$(BIN)/python scripts/gas_table.py --check
	PATH="$(CURDIR)/$(NPM_BIN):$(CURDIR)/$(BIN):$$PATH" $(BIN)/slither . --config-file slither.config.json

format: setup-dev ## Rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	scripts/forge fmt

proto: setup-dev ## Regenerate rescind/wire/generated from rescind/wire/rescind.proto
	$(BIN)/python -m rescind.wire.generate

contracts: setup-dev ## Recompile contracts/artifacts from contracts/src
	$(BIN)/python -m rescind.contracts.compiler

gas: setup ## Measure the contracts' gas and write docs/gas.md
	@FORGE_SNAPSHOT_CHECK=false scripts/forge test --match-contract Gas
	@$(BIN)/python scripts/gas_table.py

CONFIG ?= benchmarks/forgetting/configs/tofu-cpu.toml

runs/benchmarks/base/made.json: | setup-dev
	@$(BIN)/python -m benchmarks.base_model.make runs/benchmarks/base

bench-forgetting: setup-dev runs/benchmarks/base/made.json ## Run the benchmark of forgetting (CONFIG=FILE), or what is left of it
	@$(BIN)/python -m benchmarks.forgetting.run $(CONFIG) $(ARGS)
	@$(BIN)/python -m benchmarks.forgetting.table $(basename $(notdir $(CONFIG)))

bench-learning: setup-dev runs/benchmarks/base/made.json ## Compare couplings and layouts, or what is left of it
	@$(BIN)/python -m benchmarks.learning.run --seed 0 --seed 1 --seed 2 $(ARGS)
	@$(BIN)/python -m benchmarks.learning.table

STUDIES := free-riding privacy dominant churn scale learners

bench-cheats: setup-dev ## Measure what cheats are paid beside honest training, over fifty seeds
	@$(BIN)/python -m benchmarks.participation.cheats $(ARGS)

bench-participation: setup-dev ## Run the shipped studies of participation, or what is left of them
	@for study in $(STUDIES); do \
	  $(BIN)/rescind agents sweep benchmarks/participation/$$study.toml --out benchmarks/participation/results/$$study || exit 1; \
	done

campaign: setup-dev ## Run a consortium through every misbehaving provider, or what is left of it
	@$(BIN)/python -m benchmarks.chains.campaign $(ARGS)

clean: ## Remove runs and build products, keep the installed tools
	rm -rf runs build dist contracts/out contracts/cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

# Every package comes with the hash of its file, and without asking for dependencies: the list is complete.
# Only torch has no hash, because its builds differ between platforms and indexes.
PIP_HASHED := $(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes --no-deps

$(VENV)/.installed: pyproject.toml constraints.txt requirements/build.txt requirements/setup.txt
	@scripts/prerequisites $(PYTHON)
	@echo "Setting up the Python environment in $(VENV) (once)..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_HASHED) -r requirements/build.txt
	@$(PIP_HASHED) -r requirements/setup.txt
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.installed requirements/dev.txt
	@echo "Installing the tools of tests, checks and experiments in $(VENV) (once)..."
	@$(PIP_HASHED) -r requirements/dev.txt
	@touch $@

node_modules/.installed: package.json package-lock.json
	@scripts/prerequisites $(PYTHON)
	@echo "Installing the chain and compiler packages in node_modules (once)..."
	@npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Hardhat is 300 MB, as much again as all others. npm ci would remove those first.
node_modules/.dev-installed: node_modules/.installed
	@echo "Installing Hardhat in node_modules (once)..."
	@npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
