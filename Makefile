PYTHON ?= python3
PYTHONS ?= 3.12 3.13

# What depends on the version of Python or of a library: the tests in process, and one storm and one server of each kind.
ALONE = tests/test_browser.py tests/test_spa.py tests/test_tabs.py tests/test_docs.py tests/test_distribution.py
IN_PROCESS = tests/protocol tests/sessions tests/site tests/stores tests/runtime tests/acceptance \
	$(filter-out $(ALONE),$(wildcard tests/test_*.py))
ONE_OF_EACH = "tests/storm/test_storm.py::test_a_storm_at_expiry_refreshes_once_and_fails_nobody[cookie + local]" \
	tests/edges/test_servers.py tests/cli
WITH_A_FRAMEWORK = tests/test_examples.py tests/test_framework_examples.py

.PHONY: demo test test-versions test-lowest check fmt docs bench compare

demo: .venv/demo
	@.venv/bin/lumin-middleware demo

test: .venv/dev
	@.venv/bin/pytest -q -n auto

# The same on other versions of Python, but for what hardly differs between them: `make test-versions PYTHONS=3.14`.
test-versions: $(PYTHONS:%=test-%)

test-3.%: .venv-3.%/dev
	@.venv-3.$*/bin/pytest -q -n auto --ignore tests/site/test_lumin_js.py $(IN_PROCESS) $(ONE_OF_EACH)

# The oldest of each dependency that pyproject.toml lets in, and an application of that age.
test-lowest: .venv-lowest/dev
	@.venv-lowest/bin/pytest -q -n auto --ignore tests/site/test_lumin_js.py --ignore tests/runtime/test_api_calls.py \
		$(filter-out $(WITH_A_FRAMEWORK),$(IN_PROCESS))

check: .venv/dev
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

fmt: .venv/dev
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

# Ory Hydra itself, which Go builds: five minutes the first time, seconds afterwards.
.PHONY: test-hydra demo-hydra
test-hydra: .venv/dev
	@.venv/bin/python -m tests.foreign.hydra.program
	@LUMIN_TEST_HYDRA=1 .venv/bin/pytest -q -n 2 --dist loadfile tests/foreign/hydra

demo-hydra: .venv/dev
	@.venv/bin/python -m tests.foreign.hydra.program
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

# From PATH, or the newest of that version that pyenv has.
.PRECIOUS: .venv-3.%/dev
.venv-3.%/dev: pyproject.toml
	@echo "Installing everything into .venv-3.$* …"
	@"$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.$*.*/bin/python3 2>/dev/null | sort -V | tail -n 1 | \
		grep . || command -v python3.$* || { echo "there is no Python 3.$*" >&2; exit 1; })" -m venv .venv-3.$*
	@.venv-3.$*/bin/pip install --quiet --upgrade pip
	@.venv-3.$*/bin/pip install --quiet --group test --editable '.[cli,dynamodb,postgres,redis]'
	@touch $@

.venv-lowest/dev: pyproject.toml tests/lowest.py
	@echo "Installing the oldest of everything into .venv-lowest …"
	@$(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python -m tests.lowest >.venv-lowest/constraints.txt
	@.venv-lowest/bin/pip install --quiet --upgrade pip
	@.venv-lowest/bin/pip install --quiet --constraint .venv-lowest/constraints.txt --group lowest --editable '.[cli,dynamodb,postgres,redis]'
	@touch $@
