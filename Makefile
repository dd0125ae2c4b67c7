PYTHON ?= python3

.PHONY: demo test check fmt bench

demo: .venv/demo
	@.venv/bin/lumin-middleware demo

test: .venv/dev
	@.venv/bin/pytest -q -n auto

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

bench: .venv/dev
	@.venv/bin/python -m tests.bench

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
	@.venv/bin/pip install --quiet --group dev --editable '.[cli,redis]'
	@touch $@ .venv/demo
