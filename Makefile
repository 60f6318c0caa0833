# The commands of the project, the same for people and for CI.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
JOBS ?= auto
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help
help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.packages: $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 ...'; exit 1; }
	@echo 'Setting up $(VENV) (the first time only) ...'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r $(CONSTRAINTS)
	@touch $@

$(VENV)/.ready: $(VENV)/.packages pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

PAGE := src/rex/attach_demo/static/uppy.js

$(PAGE): tools/build_page.py $(wildcard uppy/*.js*) | $(VENV)/.packages
	@$(BIN)/python tools/build_page.py

.PHONY: page
page: $(PAGE)  ## Bundle the script of the demo page, from npm.

.PHONY: dist
dist: $(VENV)/.ready $(PAGE)  ## Build the release: a wheel and a source archive, with the demo page.
	@$(BIN)/python -m build --no-isolation

.PHONY: sbom
sbom: dist  ## Write dist/rex-attach.cdx.json, a bill of materials of the wheel with all extras.
	@$(BIN)/python tools/release.py sbom $(lastword $(sort $(wildcard dist/*.whl))) dist/rex-attach.cdx.json

.PHONY: release-check
release-check: $(VENV)/.ready $(PAGE)  ## Build the release and try it on each Python, with each extra; QUICK=1 tries a few.
	@$(BIN)/python tools/check_release.py $(if $(QUICK),--quick)

CLIENTS := tests/browser/node_modules/.package-lock.json

$(CLIENTS): tests/browser/package-lock.json | $(VENV)/.packages
	@$(BIN)/npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

AZURITE := tests/azurite/node_modules/.package-lock.json

$(AZURITE): tests/azurite/package-lock.json | $(VENV)/.packages
	@$(BIN)/npm ci --prefix tests/azurite --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: demo
demo: $(VENV)/.ready  ## Run the tour: a directory, then a throwaway S3 server.
	@$(BIN)/python -m rex.attach_demo

.PHONY: serve
serve: $(VENV)/.ready $(PAGE)  ## Serve the demo page until Ctrl-C, on a directory; S3=1 uses a throwaway S3 server.
	@$(BIN)/python -m rex.attach_demo.serve $(if $(S3),--s3) $(if $(DIR),--dir $(DIR)) $(if $(PORT),--port $(PORT))

# Debian's package, if we may install it; without Chromium, the tests report what they leave out.
.PHONY: chromium
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; \
	command -v apt-get >/dev/null || exit 0; \
	if [ "$$(id -u)" = 0 ]; then may=; elif sudo -n true 2>/dev/null; then may='sudo -n'; else exit 0; fi; \
	echo 'Installing chromium (once) ...'; \
	{ $$may apt-get update -qq && $$may env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq chromium >/dev/null; } || echo 'Chromium cannot be installed here.'; \
	$$may env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium-headless-shell >/dev/null 2>&1 || true

CACHE := .pytest_cache/$(VENV)
PYTEST := $(BIN)/python -m pytest -o cache_dir=$(CACHE)

.PHONY: test
test: $(VENV)/.ready $(PAGE) $(CLIENTS) $(AZURITE) $(if $(ONLY),,chromium)  ## Run all tests except the long ones; ONLY=PATH runs all tests below a path.
	@$(PYTEST) --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(or $(ONLY),-m 'not long')

.PHONY: test-ci test-all
test-ci: WITHOUT := -m 'not again'
test-ci: test-all  ## Run all tests but those that repeat others with another server, client or version.
test-all: $(VENV)/.ready $(PAGE) $(CLIENTS) $(AZURITE) chromium  ## Run all tests.
	@$(PYTEST) --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(WITHOUT)

# Other than a wait on a busy machine, a lost attachment is never tried again, nor are many failures.
.PHONY: test-failed
test-failed: $(VENV)/.ready  ## Run again, one by one, the few tests that failed in the last run.
	@cd $(CACHE)/v/cache && test -f lastfailed && ! grep 'tests/trust' lastfailed && test $$(grep -c '::' lastfailed) -le 3
	@$(PYTEST) --last-failed --last-failed-no-failures none

.PHONY: trust
trust: $(VENV)/.ready  ## Hunt for lost attachments: power cuts, failures, kills; ONLY=PART TIMES=N runs one part.
	@PYTHONPATH=tests $(BIN)/python -m trust $(or $(ONLY),all) $(TIMES)

.PHONY: cluster
cluster: $(VENV)/.ready  ## Run the application before a SeaweedFS cluster until Ctrl-C (needs nginx, PostgreSQL).
	@$(BIN)/python examples/cluster/cluster.py

.PHONY: cluster-trial
cluster-trial: $(VENV)/.ready  ## Kill servers of that cluster under load, and look for what is lost (ten minutes); PAGE=1 by the demo page.
	@$(BIN)/python examples/cluster/trial.py $(if $(PAGE),--page)

BENCH := .venv-bench

$(BENCH)/.ready: benchmarks/peers.txt $(VENV)/.ready
	@echo 'Setting up $(BENCH), with the libraries to compare with ...'
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	@$(BENCH)/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation -e .
	@touch $@

NODE_PEERS := benchmarks/node/node_modules/.package-lock.json

$(NODE_PEERS): benchmarks/node/package-lock.json | $(VENV)/.packages
	@$(BIN)/npm ci --prefix benchmarks/node --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

bench bench-full: export NODE := $(abspath $(BIN))/node

.PHONY: bench
bench: $(BENCH)/.ready $(NODE_PEERS)  ## Compare performance with alternatives, in a few minutes; CASES=... selects cases.
	@$(BENCH)/bin/python benchmarks/bench.py $(CASES)

.PHONY: bench-full
bench-full: $(BENCH)/.ready $(NODE_PEERS)  ## Compare until the figures are reliable (40 minutes), and write docs/project/benchmarks.md.
	@$(BENCH)/bin/python benchmarks/bench.py --full --write docs/project/benchmarks.md

.PHONY: screenshot
screenshot: $(VENV)/.ready $(PAGE)  ## Regenerate the picture in the README (needs Chromium).
	@PYTHONPATH=tests $(BIN)/python docs/screenshot.py

SITE := .venv-docs

$(SITE)/.ready: docs/requirements.txt
	@echo 'Setting up $(SITE), with MkDocs ...'
	@$(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	@touch $@

.PHONY: docs
docs: $(SITE)/.ready  ## Build the documentation site in build/site; a warning, such as a broken link, is an error.
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build
	@$(PYTHON) tools/check_site.py build/site

.PHONY: docs-version
docs-version: $(SITE)/.ready  ## Add the site of VERSION to the local branch gh-pages, where readers choose a version.
	@PATH="$(SITE)/bin:$$PATH" NO_MKDOCS_2_WARNING=1 mike deploy --update-aliases $(or $(VERSION),$(error VERSION is missing)) latest
	@PATH="$(SITE)/bin:$$PATH" mike set-default latest

.PHONY: docs-serve
docs-serve: $(SITE)/.ready  ## Serve the documentation site until Ctrl-C, and build it again when a page changes.
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs serve

.PHONY: reference
reference: $(VENV)/.ready  ## Generate the pages of docs/reference that come from the code.
	@$(BIN)/python docs/make_reference.py

.PHONY: lint
lint: $(VENV)/.ready  ## Check style, types, import rules and words.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/words.py

.PHONY: map
map: $(VENV)/.ready  ## Print the folders of the source, and the imports between them.
	@$(BIN)/python tools/map.py

.PHONY: s3
s3: $(VENV)/.ready  ## Run a throwaway S3 server until Ctrl-C and print its settings.
	@$(BIN)/python -m rex.attach_demo.seaweedfs

.PHONY: ceph
ceph: $(VENV)/.ready  ## Run a throwaway Ceph with its S3 gateway until Ctrl-C and print its settings (needs Debian's packages).
	@$(BIN)/python examples/ceph/ceph.py

.PHONY: promises
promises: $(VENV)/.ready  ## Run the conformance suite on the S3 server of ATTACH_S3_BUCKET, _ENDPOINT, _ACCESS_KEY, _SECRET_KEY.
	@PYTHONPATH=tests $(BIN)/python -m trust.s3_promises

.PHONY: azure
azure: $(VENV)/.ready $(AZURITE)  ## Run a throwaway Azurite until Ctrl-C and print its settings.
	@$(BIN)/python -m rex.attach_demo.azurite

.PHONY: lock
lock: $(VENV)/.ready  ## Upgrade the pinned versions of all dependencies (needs uv).
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --upgrade \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--no-emit-package rex-attach --output-file constraints.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --extra fastapi --extra metrics --extra s3 \
		--extra sql --extra zip --constraint constraints.txt \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--no-emit-package rex-attach --output-file deploy/requirements.txt pyproject.toml deploy/requirements.in
	uv pip compile --quiet --universal --python-version 3.11 --extra demo --upgrade \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--no-emit-package rex-attach --output-file benchmarks/peers.txt pyproject.toml benchmarks/peers.in
	uv pip compile --quiet --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--output-file docs/requirements.txt docs/requirements.in
	uv pip compile --quiet --universal --python-version 3.11 --extra azure --extra cdn --extra checks --extra demo --extra django --extra fastapi --extra flask \
		--extra gcs --extra metrics --extra sql --extra zip \
		--resolution lowest-direct --no-annotate --no-header --output-file .lowest.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --constraint .lowest.txt \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--no-emit-package rex-attach --output-file constraints-lowest.txt pyproject.toml
	rm .lowest.txt
	uv pip compile --quiet --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--output-file tools/release.txt tools/release.in
	for folder in uppy tests/browser tests/azurite benchmarks/node; do \
		$(BIN)/npm update --prefix $$folder --package-lock-only --omit-lockfile-registry-resolved; \
		$(BIN)/python tests/browser/strip_lock.py $$folder/package-lock.json; \
	done

.PHONY: clean
clean:  ## Remove what these commands created.
	rm -rf benchmarks/node/node_modules tests/azurite/node_modules tests/browser/node_modules uppy/node_modules
	rm -rf src/rex/attach_demo/static/uppy.js*
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
