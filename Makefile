# The commands of this repository, the same by hand and in CI. `make` alone lists them.
#
#   PYTHON=python3.12   another interpreter; it gets a virtual environment of its own (.venv-3.12)
#   ARGS="-k calendar"  handed to pytest by `make test`

SHELL := /bin/sh
PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(or $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'),missing))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test chaos check lint format-check types imports purity format man coverage model flood bench screenshots lock setup clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## a server, a worker and a few schedules, live (FOR=30s ends by itself)
	@$(BIN)/bartos demo $(if $(FOR),--for $(FOR))

test: $(READY) ## all tests, a real MariaDB and a browser among them (ARGS="-k word" for some)
	@scripts/packages.sh mariadb
	@scripts/packages.sh compiler
	@scripts/packages.sh browser
	@$(BIN)/python scripts/run_tests.py $(ARGS)

check: lint format-check types imports purity ## everything that can be said without running it

lint: $(READY)
	$(BIN)/ruff check .

format-check: $(READY)
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy --strict

imports: $(READY)
	$(BIN)/lint-imports --no-logo

purity: $(READY)
	$(BIN)/pytest -q tests/docs/test_core_purity.py

format: $(READY) ## put every file into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

man: $(READY) ## the man pages anew, from what --help and the reference are made of
	$(BIN)/python scripts/man_pages.py

coverage: $(READY) ## write lcov.info; every branch of the core is covered by unit tests
	@scripts/packages.sh mariadb
	@$(BIN)/python scripts/measure_coverage.py

model: $(READY) ## the promise under simulated faults (N=1000000 SEED=1)
	@$(BIN)/python -m tests.model --occurrences $(or $(N),1000000) --seed $(or $(SEED),1)

chaos: $(READY) ## real programs under hundreds of faults, checked (SEED=1 OCCURRENCES=10000 STORE=mariadb FAULTS=0)
	@scripts/packages.sh mariadb
	@scripts/packages.sh compiler
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(OCCURRENCES),--occurrences $(OCCURRENCES)) $(if $(STORE),--store $(STORE)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(WORKERS),--workers $(WORKERS))

flood: $(READY) ## a command that prints MB=1000 megabytes through a link of 1 Mbit/s
	@BARTO_FLOOD_MB=$(or $(MB),1000) $(BIN)/pytest -q -p no:xdist -o faulthandler_timeout=0 -s tests/acceptance/test_flood.py

screenshots: $(READY) ## pictures of the pages into docs/screenshots (ARGS="run day" for some)
	@scripts/packages.sh browser
	@$(BIN)/python -m scripts.screenshots $(ARGS)

bench: $(READY) ## what is claimed about speed, measured
	@scripts/packages.sh mariadb
	@for file in bench/*.py; do [ -e "$$file" ] || continue; echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

fuzz: $(READY) ## random questions for as long as it is given (FOR=60 seconds, SEED=number)
	@for file in tests/fuzz/[a-z]*.py; do echo "== $$file"; $(BIN)/python -m "tests.fuzz.$$(basename "$$file" .py)" $(or $(FOR),60) $(SEED) || exit 1; done

lock: $(READY) ## pin the dependencies anew (UPGRADE=1 for the newest that fit)
	@scripts/lock.sh $(BIN) $(if $(UPGRADE),--upgrade)

setup: $(READY) ## the virtual environment; nothing to do when it is up to date

$(READY): requirements-dev.txt pyproject.toml scripts/setup.sh scripts/packages.sh
	@scripts/setup.sh "$(PYTHON)" "$(VENV)"

clean: ## remove what these commands made
	rm -rf .venv .venv-* .cache dist build lcov.info .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src tests scripts bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
