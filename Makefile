# make demo    classify real images with a trained network, beside onnxruntime
# make test    run the tests; TESTS=tests/tools for some of them, JOBS=0 in one process
# make bench   measure, and write docs/benchmarks.md; BENCH='resnet50 unet' for some models,
#              BENCH=--resume for what is missing, SECONDS_EACH=2 for longer measurements
# make lint    ruff and mypy
# make docs    the documentation as a site, in build/site
# make dist    build the source distribution and the wheel in dist/, and run the wheel in a new environment
# make setup   only create .venv and install; every other target does so when needed

PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?= dev
PINS   ?=
TESTS  ?= tests
JOBS   ?= auto
BENCH  ?=
SECONDS_EACH ?= 0.3

BIN := $(VENV)/bin
# Touched after an installation, so that the next run does not install again.
STAMP := $(VENV)/installed-$(EXTRAS)

# Bytecode is kept whatever the environment says: without, each process of a test compiles all
# modules anew, and what pip installs is compiled when it is imported, a quarter of it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test bench lint types docs dist setup clean

demo: setup
	$(BIN)/python -m sardonyx.tools.demo

test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

bench:
	$(MAKE) setup EXTRAS=$(EXTRAS),bench
	$(BIN)/sardonyx bench --batch 1 --batch 8 --throughput --seconds $(SECONDS_EACH) \
		--output docs/benchmarks.md $(BENCH)
	$(BIN)/python -m sardonyx.tools.clients_bench --output docs/clients.md

lint: setup types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd build/types && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml -p sardonyx
	cd build/types && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml ../../examples

# mypy cannot follow an editable install that maps folders to another name, so it is shown a
# folder of that name, with links.
types:
	mkdir -p build/types/sardonyx
	for path in *.py $$(dirname */__init__.py) clusters; do \
		ln -sfn ../../../$$path build/types/sardonyx/$$path; done

docs: types
	$(MAKE) setup EXTRAS=$(EXTRAS),docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file .site/mkdocs.yml

dist: setup
	rm -rf dist build/dist
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv build/dist
	build/dist/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd build/dist && bin/sardonyx doctor && bin/sardonyx run \
		"$$(bin/python -c 'from sardonyx.tools.demo import DATA; print(DATA / "digits.onnx")')"

setup: $(STAMP)

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--editable '.[$(EXTRAS)]' $(PINS)
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build *.egg-info
