# Two commands on a machine with nothing but Python: `make faces` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: faces test lint clean

faces: $(VENV)/installed  ## train for a few minutes on built-in drawn faces, then generate a grid
	$(BIN)/dcgan train toy --size 32 --kimg 60 --name quickstart --resume auto
	$(BIN)/dcgan generate `ls -d runs/*-quickstart | tail -n 1` --grid faces.png

test: $(VENV)/installed-dev  ## run the tests
	$(BIN)/python -m pytest

lint: $(VENV)/installed-dev  ## lint, format check and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
