# Two commands for a fresh machine with python3 (3.11 to 3.13), make and git: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-fast web apps lint types install clean

demo: $(INSTALLED)  ## Train, quantize, export, verify and time on the embedded scenes; ends with the report's path.
	$(BIN)/edgeseg quickstart --out runs/quickstart

test: lint types  ## Everything that CI runs.
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-fast: $(INSTALLED)  ## Tests that take seconds.
	$(BIN)/pytest -m "not slow"

web:  ## The browser app, apps/web/dist; needs Node.js 20.19 or later.
	cd apps/web && npm ci --ignore-scripts --no-audit --no-fund && npm run build

apps: $(INSTALLED)  ## Tests of the sample apps; part of `make test`, each skips where its toolchain is missing.
	$(BIN)/pytest tests/apps

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"edgeseg needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; set PYTHON=python3.12 or the like")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); PyTorch and the exporters take several GB and a few minutes"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info
