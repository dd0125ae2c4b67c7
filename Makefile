PYTHON ?= python3
PYTHONS ?= 3.12 3.13
REDIS ?= 6.0.0 6.4.0 7.4.1

# Bytecode is kept: the tests start hundreds of programs, each of which would compile the package anew.
export PYTHONDONTWRITEBYTECODE =

# Tests wait for programs and servers, so that there are workers for twice the cores. Each has tests that are neighbours
# for as long as there are any, so that servers and browsers start once.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
PYTEST = pytest -q -n $(WORKERS) --dist worksteal

# What hardly differs between versions of Python or of a library: pages, documents, the shape of the code, and the search
# for an order of events, which no version knows of. The rest of the tests in process depends on them.
THE_SAME = $(patsubst %,tests/test_%.py,accessibility browser browser_tabs browser_troubles distribution docs gallery layers \
	look spa state_machine tabs)
# What starts programs by the dozen, or asks a server thousands of times: a version has BESIDES instead.
MANY = $(patsubst %,tests/%.py,test_framework_examples stores/test_islands stores/test_redis_failover \
	stores/test_stores_by_model)
# What asks our own code by the thousand, which is the same on each version; and Amazon's own code, which the oldest
# dependencies have in another version, and another Python has not.
FEWER = -m "not by_the_thousand"
AMAZON = tests/stores/test_dynamodb_store.py
IN_PROCESS = $(filter-out $(MANY),$(patsubst %,tests/%,protocol sessions site runtime acceptance) \
	$(wildcard tests/stores/test_*.py) $(filter-out $(THE_SAME),$(wildcard tests/test_*.py)))
WITH_A_FRAMEWORK = tests/test_examples.py
# Each Python signs in through each framework and server, and rides out a storm. The oldest dependencies, beside which
# not all of these are installed, have the commands and the gateway instead.
BESIDES = tests/edges tests/emulator tests/doctor tests/seams/test_in_process.py tests/cli/test_cli.py \
	"tests/storm/test_storm.py::test_a_storm_at_expiry_refreshes_once_and_fails_nobody[cookie + local]"
TOOLS = tests/cli tests/gateway/test_gateway.py
NO_BROWSER = --ignore tests/site/test_lumin_js.py

.PHONY: demo test test-versions test-redis test-lowest check fmt docs bench compare

demo: .venv/demo
	@.venv/bin/lumin-middleware demo

test: .venv/dev
	@.venv/bin/$(PYTEST)

# The same on other versions of Python, but for what hardly differs between them: `make test-versions PYTHONS=3.14`. Test
# files that LEFT_OUT names are left out besides.
# `LUMIN_TEST_CASES=2` runs the first and the last case of each test only (of those marked `every_case`, all), for this
# and whatever else pytest runs.
test-versions: $(PYTHONS:%=test-%)

test-3.%: .venv-3.%/dev
	@.venv-3.$*/bin/$(PYTEST) $(FEWER) $(NO_BROWSER) $(filter-out $(AMAZON) $(LEFT_OUT),$(IN_PROCESS)) $(BESIDES)

# The stores on Redis with each redis-py between the oldest, which test-lowest has, and the newest.
test-redis: $(REDIS:%=test-redis-%)

test-redis-%: .venv/redis-%
	@PYTHONPATH=.venv/redis-$* .venv/bin/$(PYTEST) $(patsubst %,tests/stores/test_%.py,redis_store redis_failover)

# The oldest Starlette's test client leaves streams to the collector, which meets them in any test that follows.
THEIR_STREAMS = -W "ignore:Unclosed <MemoryObject:ResourceWarning"

# The oldest of each dependency that pyproject.toml lets in, and an application of that age.
test-lowest: .venv-lowest/dev
	@.venv-lowest/bin/$(PYTEST) $(FEWER) $(THEIR_STREAMS) $(NO_BROWSER) --ignore tests/runtime/test_api_calls.py \
		$(filter-out $(WITH_A_FRAMEWORK),$(IN_PROCESS)) $(TOOLS)

check: .venv/dev
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

fmt: .venv/dev
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

# Ory Hydra itself, which Go builds: five minutes the first time, seconds afterwards.
.PHONY: hydra test-hydra demo-hydra
hydra: .venv/dev
	@.venv/bin/python -m tests.foreign.hydra.program

test-hydra: hydra
	@LUMIN_TEST_HYDRA=1 .venv/bin/pytest -q -n 2 --dist loadfile tests/foreign/hydra

demo-hydra: hydra
	@.venv/bin/python -m tests.foreign.hydra.demo

# The documentation as a site, in docs/.site. A link that leads nowhere fails. What is generated of it, is made first.
docs: .venv/dev
	@.venv/bin/python -m tests.documents
	@.venv/bin/zensical build --strict --config-file docs/zensical.toml

bench: .venv/dev
	@.venv/bin/python -m tests.bench

# The same beside what others use: docs/figures.md. Ten minutes, after what has to be built.
compare: .venv/dev
	@.venv/bin/pip install --quiet --group compare
	@.venv/bin/python -m tests.compare

.venv/bin/python:
	@$(PYTHON) -m venv .venv

# The demo is to be up at once, so it waits for its own packages only.
.venv/demo: pyproject.toml | .venv/bin/python
	@echo "Installing the demo into .venv …"
	@.venv/bin/pip install --quiet --editable '.[cli]'
	@touch $@

.venv/dev: pyproject.toml | .venv/bin/python
	@echo "Installing everything into .venv …"
	@.venv/bin/pip install --quiet --upgrade pip
	@.venv/bin/pip install --quiet --group dev --editable '.[cli,dynamodb,postgres,redis]'
	@touch $@ .venv/demo

# The newest of that version that pyenv has, or the one of PATH: where it is.
python-3.%:
	@ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.$*.*/bin/python3 2>/dev/null | sort -V | tail -n 1 | grep . || \
		command -v python3.$* || { echo "There is no Python 3.$* here: pyenv has none, nor is it on PATH." >&2; exit 1; }

.PRECIOUS: .venv-3.%/dev
.venv-3.%/dev: pyproject.toml
	@echo "Installing everything into .venv-3.$* …"
	@python=$$($(MAKE) --silent --no-print-directory python-3.$*) && "$$python" -m venv .venv-3.$*
	@.venv-3.$*/bin/pip install --quiet --upgrade pip
	@.venv-3.$*/bin/pip install --quiet --group test --editable '.[cli,dynamodb,postgres,redis]'
	@touch $@

.PRECIOUS: .venv/redis-%
.venv/redis-%: | .venv/dev
	@.venv/bin/pip install --quiet --no-deps --target $@ redis==$*

.venv-lowest/dev: pyproject.toml tests/lowest.py
	@echo "Installing the oldest of everything into .venv-lowest …"
	@$(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python -m tests.lowest >.venv-lowest/constraints.txt
	@.venv-lowest/bin/pip install --quiet --upgrade pip
	@.venv-lowest/bin/pip install --quiet --constraint .venv-lowest/constraints.txt --group lowest --editable '.[cli,dynamodb,postgres,redis]'
	@touch $@
