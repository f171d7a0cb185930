# Tasks of the project; `make help` lists them. Everything runs in a virtual environment below .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
PY      = $(VENV)/bin/python
PYTEST  = $(PY) -m pytest
STAMP   = $(VENV)/.stamp

CERTS         ?= certs/dev
CONFIG        ?= conf/tlsgate.json
UPSTREAM_PORT ?= 9080
PORT          ?=
ARGS          ?=
T             ?=
TIMES         ?= 20
# Test files that run at once: most of them wait for deadlines most of the time. 0 is one after the other, in one process.
JOBS          ?= 3

# `make systemd`: what the units are rendered with.
EXEC ?= /opt/tlsgate/bin/tlsgate
ETC  ?= /etc/tlsgate/tlsgate.json
OUT  ?= build/systemd

.DEFAULT_GOAL := help
.PHONY: help run demo-check certs test acceptance check format lint types floors unit fuzz bench one systemd system-packages clean

help: ## list the tasks
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 16

run: $(STAMP) certs ## start a sample upstream and the gateway, print curl lines (PORT=8443)
	@exec $(PY) -m tlsgate.demo --config $(CONFIG) --certs $(CERTS) --upstream-port $(UPSTREAM_PORT) $(if $(PORT),--port $(PORT))

demo-check: $(STAMP) certs ## the same on free ports: run every printed line, compare, end
	@exec $(PY) -m tlsgate.demo --config $(CONFIG) --certs $(CERTS) --upstream-port 0 --port 0 --check

certs: $(STAMP) ## make development certificates unless good ones are there
	@$(PY) -m tlsgate certs dev --out $(CERTS)

test: $(STAMP) system-packages ## run all tests, scaled to end within a quarter of an hour
	$(PYTEST) -m "not acceptance" -n $(JOBS) --dist loadfile $(ARGS)

acceptance: $(STAMP) system-packages ## run the full-size tests and show their figures
	TLSGATE_ACCEPTANCE=1 $(PYTEST) tests/loopback tests/conformance -s $(ARGS)

check: format lint types floors unit ## format, lint, types, floors, unit tests: before every commit

format: $(STAMP)
	$(VENV)/bin/ruff format --check .

lint: $(STAMP)
	$(VENV)/bin/ruff check .

types: $(STAMP)
	$(VENV)/bin/mypy

floors: $(STAMP)
	$(PYTEST) tests/unit/test_floors.py tests/unit/test_layout.py

unit: $(STAMP)
	$(PYTEST) tests/unit -m "not acceptance" -n $(JOBS) $(ARGS)

fuzz: $(STAMP) ## run the tests by hypothesis alone, with TIMES (20) as many examples, new ones in each run
	TLSGATE_FUZZ=$(TIMES) $(PYTEST) tests/fuzz tests/memory tests/unit -m hypothesis -n $(JOBS) $(ARGS)

bench: $(STAMP) ## measure the gateway beside other proxies (ARGS=--quick)
	$(PY) benchmarks/run.py $(ARGS)

one: $(STAMP) ## run one test file, node id or expression: make one T=tests/unit/test_logs.py
	$(PYTEST) -vv -x $(if $(wildcard $(firstword $(subst ::, ,$(T)))),'$(T)',-k '$(T)')

systemd: ## render the systemd units into OUT (EXEC=program ETC=configuration)
	@mkdir -p $(OUT)
	@for unit in conf/tlsgate.service conf/tlsgate.socket; do \
	    sed -e 's|@EXEC@|$(EXEC)|g' -e 's|@CONFIG@|$(ETC)|g' "$$unit" > "$(OUT)/$${unit##*/}"; \
	    echo "$(OUT)/$${unit##*/}"; \
	done

# The stamp is made again when the dependencies change, so that repeated runs start at once.
$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made: on Debian install python3-venv" >&2; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $@

# Programs that the tests use, by the Debian package that has them.
system-packages:
	@missing=; \
	for pair in redis-server:redis-server openssl:openssl curl:curl; do \
	    command -v "$${pair%%:*}" > /dev/null || missing="$$missing $${pair##*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing > /dev/null; \
	    else \
	        echo "the tests need these packages:$$missing (install them, then run make again)" >&2; exit 1; \
	    fi; \
	fi

clean: ## remove what the tasks made, except the development certificates
	rm -rf $(VENV) build dist var .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
