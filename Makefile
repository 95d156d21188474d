# The words a newcomer needs: `make serve` and `make test`; both set up what they need, in .venv.
# It must not know how anything is built (pyproject.toml, setup.py) or tested (tests/).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
SOURCES := setup.py readme_on_index.py pyproject.toml $(shell find src python_server -name '*.py' -o -name '*.py[xi]' -o -name '*.h' -o -name '*.html')
NPM_PACKAGES := tests/e2e/node_modules/.package-lock.json
HOST ?= 127.0.0.1
PORT ?= 8000
TESTS ?=
BENCH ?=
RECORDS ?=
MODULES ?=
FOLDERS ?=
PLACES ?=
PYTHON_VERSION ?= 3.14

.PHONY: FORCE help serve test test-all test-python lint coverage coverage-mirror mutation rows wheel bench bench-pages bench-profiles picture client optional-tools clean release-check bare docs

help:
	@echo "make serve   set up and run the Math Duels example at http://$(HOST):$(PORT)"
	@echo "make test    set up and run the tests"
	@echo "make test-all   those that take long as well, as CI does"
	@echo "make test-python   the same under CPython $(PYTHON_VERSION) (PYTHON_VERSION=...), from PATH or Debian's sid"
	@echo "make lint    ruff and mypy"
	@echo "make coverage   how much of the code the tests run, an hour (FOLDERS='http1 wsframe': a part, by its own tests)"
	@echo "make mutation   change http1 and the packets in small ways, which their tests must notice (PLACES=packet: a part)"
	@echo "make coverage-mirror   how much of each module of the server its own test file covers (MODULES=... for a few)"
	@echo "make rows    run the tests named after the 80 rows, and write docs/rows.md"
	@echo "make docs    the documentation as a site in build/docs, its links and its search checked"
	@echo "make picture record docs/two-windows.gif: a duel in two browsers, through a rolling restart (needs redis-server)"
	@echo "make client  fetch the Socket.IO client for browsers, which the others pack where npm gets it"
	@echo "make wheel   build the wheel into dist/"
	@echo "make release-check   build wheel and sdist, and hold them against what a release must be"
	@echo "make bare    run 'make serve' and 'make test' in a bare Debian, as root (TESTS=... for a part of the suite)"
	@echo "make bench   compare with the other servers, half an hour (BENCH=--quick: two minutes;"
	@echo "             BENCH='--against main': this tree against a commit)"
	@echo "make clean   remove what these commands made"

serve: $(VENV)/installed
	@echo "Math Duels: http://$(HOST):$(PORT)"
	@cd examples/math_duels && exec $(abspath $(BIN))/python -m python_server app:app --host $(HOST) --port $(PORT)

# What CI runs: the tests that take long as well.
test-all: override TESTS += --extended
test-all: test

# Half of the run waits for processes and browsers: two tests at a time (-n 0: one, for --pdb).
test: $(VENV)/test-installed optional-npm optional-tools
	$(BIN)/pytest -rs -n 2 --dist worksteal $(TESTS)

test-python: client
	sh tests/another_python.sh $(PYTHON_VERSION) "$(TESTS)"

lint: $(VENV)/test-installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

coverage: $(VENV)/test-installed optional-npm optional-tools
	$(PIP) install --group coverage
	$(BIN)/python tests/common/covered.py $(FOLDERS)

mutation: $(VENV)/test-installed
	$(PIP) install --group mutation
	$(BIN)/python tests/common/mutation.py $(PLACES)

coverage-mirror: $(VENV)/test-installed
	$(PIP) install --group coverage
	$(BIN)/python tests/common/mirror.py $(MODULES)

rows: $(VENV)/test-installed optional-npm optional-tools
	$(BIN)/pytest -q -n 2 --dist worksteal --rows-page

# -n: a name of ours that a signature shows must be on a page.
docs: $(VENV)/installed
	$(PIP) install --group docs
	rm -rf build/docs build/doctrees
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -n -j auto -d build/doctrees docs build/docs
	$(BIN)/python tests/common/built_site.py build/docs

wheel: $(VENV)/created client
	rm -rf build/lib* build/bdist* dist
	$(PIP) wheel --no-deps --wheel-dir dist .

release-check: $(VENV)/installed wheel
	@$(PIP) install --group release || echo "Left out: pip gets no build and twine"
	@$(BIN)/python -m build --sdist --outdir dist . >build/sdist.log 2>&1 || { tail -n 20 build/sdist.log; exit 1; }
	$(BIN)/python tests/release_check.py dist

bare:
	sh tests/bare.sh "$(TESTS)"

bench:
	$(PYTHON) bench/e2e/run.py $(BENCH)

# The pages and the plots of the kept records (RECORDS: new ones that replace them), and the profiles of the server as it is.
bench-pages:
	$(PYTHON) bench/e2e/pages.py $(RECORDS)
	build/bench-venv/bin/python bench/e2e/plot.py

bench-profiles:
	$(PYTHON) bench/e2e/profiles.py

picture: $(VENV)/test-installed
	$(BIN)/python docs/make_picture.py

clean:
	rm -rf $(VENV) build dist artifacts tests/e2e/node_modules python_server/client

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %s; name another one: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	@touch $@

# The built wheel is installed, never the source folder: what runs is what a user would get.
$(VENV)/installed: $(VENV)/created $(SOURCES) build/client
	rm -rf build/lib* build/bdist* build/wheel
	$(PIP) wheel --no-deps --wheel-dir build/wheel .
	$(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	$(PIP) install "$$(ls build/wheel/*.whl)[flask]"
	@touch $@

$(VENV)/test-installed: $(VENV)/installed
	$(PIP) install --group test
	@touch $@

client: build/client

# Fetched before the wheel that packs it, which is built anew only when what was fetched is another one.
build/client: FORCE
	@$(PYTHON) fetch_client.py || true
	@mkdir -p build; ls python_server/client >build/client.new 2>/dev/null; \
		if cmp -s build/client.new $@; then rm build/client.new; else mv build/client.new $@; fi

.PHONY: optional-npm
optional-npm:
	@if command -v npm >/dev/null; then \
		if [ ! -e $(NPM_PACKAGES) ] || [ tests/e2e/package-lock.json -nt $(NPM_PACKAGES) ]; then \
			npm ci --prefix tests/e2e --no-audit --no-fund --loglevel=error && touch $(NPM_PACKAGES) || \
			echo "Left out: npm gets no packages, so the tests with the JavaScript clients are skipped."; fi; \
	else echo "Left out: npm is not installed, so the tests with the JavaScript clients are skipped."; fi

optional-tools:
	@command -v valgrind >/dev/null || echo "Left out: valgrind is not installed, so the codec's instructions are not counted."
	@command -v node >/dev/null || echo "Left out: node is not installed, so the tests with the JavaScript clients are skipped."
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		echo "Left out: chromium is not installed, so the browser tests are skipped."
	@command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || \
		echo "Left out: nginx is not installed, so the documented proxy configuration is not tried."
