PYTHON ?= python3
BIN := .venv/bin
LOCK := deploy/lock
# How many tests run at a time.
LANES ?= 2
# Made-up requests of `make fuzz`; 1000000 take an hour, which is the most it takes.
CASES ?= 20000
# Named after what it installed: setup runs again only when one of these files changes.
STAMP := .venv/.installed-$(shell cat pyproject.toml $(LOCK)/dev.txt $(LOCK)/torch-*.txt $(LOCK)/install_torch.sh | sha256sum | cut -c1-16)
CLIENTS := .ratchet/clients
CLIENTS_STAMP := $(CLIENTS)/.installed-$(shell cat deploy/clients/* | sha256sum | cut -c1-16)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-lm test test-unit check mutants bench-learner bench-curves bench-gate bench-swap bench-serving bench-surfaces bench-evaluation bench-watching bench-adapter bench-parity bench-learning bench-cost bench-hostile bench-scale results \
	chaos fuzz clients clients-setup references lock sbom clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: setup ## start everything here, ask it questions, watch it get better
	$(BIN)/ratchet demo

demo-lm: setup ## the same with a real language model of 135M parameters (up to 40 minutes)
	$(BIN)/ratchet demo --model smollm2

test: setup ## all tests, including those on real engine, Valkey and learner processes
	$(BIN)/pytest --lanes $(LANES) --durations 25

test-unit: setup ## only the fast tests
	$(BIN)/pytest tests/unit

check: setup ## style, types and import direction
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

bench-learner: setup ## one update against TRL's GRPOTrainer, which must be installed in .venv
	$(BIN)/python -m loadtests.learner_bench

bench-curves: setup ## learning curves against TRL, six seeds (half an hour)
	$(BIN)/python -m loadtests.curve_bench

bench-gate: setup ## twenty bad adapters and thirty honest updates against the gate (ten minutes)
	$(BIN)/python -m loadtests.gate_bench

bench-adapter: setup ## what an adapter costs the engine on CPU (three minutes)
	$(BIN)/python -m loadtests.adapter_bench

bench-parity: setup ## does parity tell a real update from none and from another? (a quarter of an hour)
	$(BIN)/python -m loadtests.parity_bench

bench-learning: setup ## what learning costs clients of a real model (ten minutes)
	$(BIN)/python -m loadtests.learning_bench

bench-cost: setup ## what an answer costs as the small model learns (seven minutes; COST="--model smollm2 --minutes 20")
	$(BIN)/python -m loadtests.cost_bench $(COST)

bench-hostile: setup ## the demo with a fifth of hostile traffic: how accurate is it for the others? (half an hour)
	$(BIN)/python -m loadtests.hostile_learning $(HOSTILE)

chaos: setup ## 1,000 groups through 200 random kills (CHAOS="--groups 10000 --kills 2000 --seconds 9000"): is anything lost?
	$(BIN)/python -m loadtests.chaos $(CHAOS)

bench-swap: setup ## 200 adapter swaps under load by four policies (about eleven minutes)
	$(BIN)/python -m loadtests.swap_bench

fuzz: setup ## 20,000 requests generated from the OpenAPI document, and CASES made-up ones (a few minutes)
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.storm --cases $(CASES)

clients: setup clients-setup ## the clients of docs/clients.md, installed apart, run against a live stack
	$(BIN)/pytest tests/integration/test_documented_clients.py

clients-setup: $(CLIENTS_STAMP) ## only install them (make test then runs them too)

$(CLIENTS_STAMP):
	deploy/clients/install.sh $(PYTHON) $(CLIENTS)
	@rm -f $(CLIENTS)/.installed-*
	@touch $@

bench-serving: setup ## our share of latency and CPU, against LITELLM=path/of/litellm if given (ten minutes)
	$(BIN)/python -m loadtests.serving_bench $(if $(LITELLM),--litellm $(LITELLM))

bench-surfaces: setup ## what Responses and Messages cost beside chat (three minutes)
	$(BIN)/python -m loadtests.surface_bench

bench-evaluation: setup ## does `ratchet eval` keep an engine busy? (three minutes)
	$(BIN)/python -m loadtests.evaluation_bench

bench-watching: setup ## what metrics and the live page cost a busy server (two minutes)
	$(BIN)/python -m loadtests.watching_bench

bench-scale: setup ## several hosts as network namespaces, cut off, slowed and replaced (ten minutes; root, iproute2, haproxy)
	$(BIN)/python -m loadtests.hosts
	$(BIN)/python -m loadtests.hosts.cores

results: setup ## run the missing experiments and write docs/results.md (two hours)
	$(BIN)/python -m evals.experiments --write docs/results.md

references: setup ## rewrite docs/metrics.md, docs/configuration.md and the dashboards from the code
	$(BIN)/python -m deploy

mutants: setup ## mutation tests of rewards/ (about five minutes)
	$(BIN)/mutmut run
	$(BIN)/mutmut results

setup: $(STAMP) ## create .venv and install what the lock pins (demo, test and check run it)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit("Ratchet needs Python 3.11 or later; set PYTHON=" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv: a few minutes and 3 GB of disk, once"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-deps --require-hashes -r $(LOCK)/dev.txt
	$(LOCK)/install_torch.sh $(BIN)/python
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || \
		echo "WARNING: libnuma is missing and the engine will not start without it: apt-get install libnuma1" >&2
	@rm -f .venv/.installed-*
	@touch $@

lock: ## resolve pyproject.toml into deploy/lock again; UPGRADE=1 moves pins that still fit
	PYTHON=$(PYTHON) $(LOCK)/lock.sh $(if $(UPGRADE),--upgrade)

sbom: ## write what each image is made of to dist/sbom, from the locks (CycloneDX)
	@mkdir -p dist/sbom
	for image in server adapter cpu; do $(PYTHON) -m deploy.sbom $$image >dist/sbom/$$image.cdx.json; done
	$(PYTHON) -m deploy.sbom adapter cuda >dist/sbom/adapter-cuda.cdx.json

clean: ## remove caches and build outputs; .venv and your runs stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
