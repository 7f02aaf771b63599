# Every door sets up what it needs: the environment in .venv (tools/setup), then the work itself.
# Written for GNU Make 3.81 (macOS) and newer; paths are relative, so the checkout may lie anywhere.

# In the environment of environment.yml that one counts; else .venv, which tools/setup makes.
bin := $(if $(filter event-driven-vs-request-driven,$(CONDA_DEFAULT_ENV)),,.venv/bin/)
python := $(bin)python

# The locked environment is the only one that counts, whatever the caller's shell has set for other
# work: Python's variables (all but the encoding), pytest's, another environment's, a git hook's.
unexport $(filter-out PYTHON PYTHONUTF8 PYTHONIOENCODING,\
	$(filter PYTHON% PYTEST% COVERAGE_% JUPYTER_GATEWAY_% GIT_%,$(.VARIABLES)))
unexport VIRTUAL_ENV JUPYTER_PATH JUPYTER_CONFIG_PATH JUPYTERLAB_DIR MPLBACKEND FORCE_COLOR
unexport MAKEFLAGS
export JUPYTER_PREFER_ENV_PATH := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export MATPLOTLIBRC := /dev/null

# Unattended runs also leave the user's own Jupyter and IPython settings alone.
test book evidence: export JUPYTER_NO_CONFIG := 1
test book evidence: export IPYTHONDIR := $(CURDIR)/_build/ipython
# The stack of a test run ends seconds after its last user, not minutes.
test test-servers bench evidence: export SHOPLAB_GRACE ?= 5
test: export SHOPLAB_LEDGER := $(CURDIR)/_build/test-ledger

# pyproject.toml's groups of dependencies, and where every locked package must have a wheel: a fresh
# machine has no compiler.
groups := setup,book,notebooks,checks
comma := ,
platforms := x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin

copy := cp -r . ~/my-course && chmod -R u+w ~/my-course && cd ~/my-course
# Several files at the same time: JOBS=2 says how many, else as many as cores and memory allow.
beside := -n auto --dist loadfile --no-loadscope-reorder
# nbval checks each cell; what a notebook has printed that passed is kept for the book.
nbval := --nbval-lax --nbval-current-env --nbval-cell-timeout=180 -p tools.keeping
as_root := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help book lab shop test test-quick test-servers draft test-book bench evidence check format lock
.PHONY: leftovers setup clean clean-all _build
.NOTPARALLEL: # whatever -j says: a book beside the tests would make each other late

help: ## say what there is (this list)
	@echo "Event-Driven vs Request-Driven: every claim an experiment on live servers."
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{printf "%-20s%s\n", $$1, $$2}'
	@echo
	@echo "Each sets up what it needs by itself, once. PYTHON=python3.12 chooses the Python."

# Whatever builds or checks writes into this folder; whoever reads and runs (`make lab`) need not.
book draft test test-quick test-servers test-book evidence check format lock: | _build

book: setup ## run the notebooks that changed against live servers, build the HTML book (FRESH=1: all)
	@$(python) -m tools.book $(if $(FRESH),--fresh)

# The pages lie beside the notebooks, so that links to them work. A reader's own settings count, except
# that JupyterLab asks no other host for news or versions.
lab: setup ## open JupyterLab in notebooks/
	@$(python) -m jupyterlab $(as_root) --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=. \
		--FileContentsManager.preferred_dir=notebooks --LabApp.app_settings_dir=tools/jupyterlab \
		--LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate

shop: setup ## open the shop of chapter 8 on these servers, and say what to try with curl
	@$(python) -m tools.shop

test: setup ## unit tests, fault tests, and every notebook by nbval
	@$(python) -m pytest tests notebooks --ignore=tests/book $(nbval) $(beside) --durations=30

test-quick: setup ## the tests that start no server and no notebook, in seconds
	@$(python) -m pytest tests --ignore=tests/book -m "not server" $(beside)

ONLY := tests
test-servers: setup ## the others: the tests that start one; ONLY=tests/stack for some of them
	@$(python) -m pytest $(ONLY) --ignore=tests/book -m server $(beside)

draft: setup ## the pages without running notebooks, in seconds, for whoever edits prose
	@$(python) -m tools.book --draft

test-book: setup ## open every page of the built book, and JupyterLab, in headless Chromium (after `make book`)
	@REQUIRE_BOOK=1 $(python) -m pytest tests/book $(beside)

bench: setup ## the laboratory's own figures, against their targets
	@$(python) -m tools.bench

evidence: setup ## run every notebook (or NOTEBOOKS=) ROUNDS=20 times, half of them on busy cores
	@$(python) -m tools.evidence

check: setup ## lint, formatting, types, dependencies and notebook hygiene; fast
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' \
		--no-logo --cache-dir _build/import-linter
	@$(python) -m deptry --no-ansi src
	@$(python) -m deptry --no-ansi src tools book/_ext tests notebooks --non-dev-dependency-groups $(groups)
	@$(python) -m tools.notebooks check

format: setup ## mend formatting of modules and notebooks, strip unchecked outputs
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .
	@$(python) -m tools.notebooks normalise

lock: setup ## make requirements.txt anew from pyproject.toml, and that of the shop's image
	@$(bin)uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		pyproject.toml --group $(subst $(comma), --group ,$(groups)) -o requirements.txt
	@$(bin)uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		src/shop/requirements.in --constraint requirements.txt -o src/shop/requirements.txt
	@for platform in $(platforms); do for version in 3.11 3.13 3.14; do \
		$(bin)uv pip install --quiet --dry-run --target _build/wheels --only-binary :all: \
			--python-platform $$platform --python-version $$version -r requirements.txt \
			|| exit 1; done; done

_build:
	@mkdir -p $@ 2>/dev/null && test -w $@ || { \
		echo 'This folder is not yours to write, so nothing can be built in it.' >&2; \
		echo 'Next: work in a copy of your own: `$(copy)`.' >&2; exit 1; }

# A kernel warns at each start that it speaks over the loopback in plain text.
quiet_kernels := _build/ipython/profile_default/ipython_kernel_config.json
test book evidence: | $(quiet_kernels)
$(quiet_kernels): | _build
	@mkdir -p $(@D)
	@echo '{"IPKernelApp": {"log_level": "ERROR"}}' >$@

leftovers: setup ## fail if a process of ours still runs
	@$(python) tools/leftovers.py

setup: ## only set up: .venv, locked packages, Kafka's jars and its AOT cache
	@sh tools/setup
	$(if $(filter setup,$(MAKECMDGOALS)),@echo "Ready: $$($(python) --version)")

clean: ## remove what was built: _build/ and the tools' caches
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache
	find src tests tools notebooks book \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d \
		-prune -exec rm -rf {} +

clean-all: clean ## the same, and the environment in .venv
	rm -rf .venv .setup.lock src/*.egg-info
