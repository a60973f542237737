# webdis-kit: every entry point. Variables are passed on: make up SUITE=bookworm
.DEFAULT_GOAL := help
SHELL := /bin/sh

# What a target hears of its caller's environment, and nothing else: there is no end of names
# that change what Python, pip, Ansible, Vagrant, SSH or Node.js do, or the language they speak.
PASSED_ON := PATH HOME USER LOGNAME TERM TMPDIR TZ NO_COLOR CI MAKE% KIT_% DEMO_% XDG_CACHE_HOME \
    XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS LIBVIRT_DEFAULT_URI VAGRANT_HOME VAGRANT_DEFAULT_PROVIDER \
    VBOX_USER_HOME %_proxy %_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE \
    NODE_EXTRA_CA_CERTS npm_config_registry PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS \
    PIP_TRUSTED_HOST PIP_CERT PIP_CLIENT_CERT PIP_CONFIG_FILE PIP_CACHE_DIR PIP_DEFAULT_TIMEOUT \
    PIP_NO_INDEX FUZZ_CONNECTIONS NODES_REPEATS PARTS REPEATS SYSTEMS GUEST UBUNTU_LIKE
OF_THE_CALLER := $(foreach name,$(.VARIABLES),$(if $(filter environment,$(origin $(name))),$(name)))
unexport $(filter-out $(PASSED_ON),$(OF_THE_CALLER))
# Debian's `su` leaves root without the folders of root's programs.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL := $(if $(filter Darwin,$(shell uname)),en_US.UTF-8,C.UTF-8)
export PROVIDER SUITE SOURCES METRICS TLS TLS_CERTIFICATE TLS_KEY ORIGINS ORPHANS HOST PORT JSON QUICK SCENARIO BOOT LAB ROUTER KIND NODES NODE
KIT := .venv/bin/python -m kit

.PHONY: help up provision down destroy status ip ssh node-stop node-start verify lab lab-fault doctor demo test test-all test-roles test-tls test-devices test-nodes test-versions test-security test-collection test-faults test-cures mutants test-vm bench bench-up bench-publisher bench-nodes bench-devices dist dist-collection dist-python dist-javascript lint lint-roles lint-others screenshots sbom audit diagrams role-docs client-docs dashboard lock
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# One environment; a group is installed again when its lock file changes, and all of them
# where the environment cannot work any more.
$(shell requirements/check.sh)
.venv/%.stamp: requirements/%.txt requirements/install.sh
	@requirements/install.sh $*

# Node.js is one of the Python packages, so it is pinned as they are.
NODEJS := PATH="$(CURDIR)/.venv/bin:$$PATH"
node_modules/.package-lock.json: package-lock.json .npmrc .venv/test.stamp
	@$(NODEJS) npm ci --loglevel=error && touch $@

up: .venv/ops.stamp ## create, start and provision the instance (PROVIDER= SUITE= SOURCES= TLS=1 LAB=6 NODES=3 METRICS=1 BOOT=1)
	@$(KIT) up
provision: .venv/ops.stamp ## provision the virtual machine; `vagrant up` ends with this
	@$(KIT) provision
down: .venv/ops.stamp ## stop the instance; make up starts it again
	@$(KIT) down
destroy: .venv/ops.stamp ## remove the instance; ORPHANS=1: those of deleted checkouts
	@$(KIT) destroy
status: .venv/ops.stamp ## how the instance is, in ten lines; fails if something is wrong (JSON=1)
	@$(KIT) status
ip: .venv/ops.stamp ## print the instance's address (NODE=)
	@$(KIT) ip
ssh: .venv/ops.stamp ## log in to the instance (NODE=)
	@$(KIT) ssh
node-stop: .venv/ops.stamp ## stop one of several nodes, as if its machine were lost (NODE=)
	@$(KIT) node-stop
node-start: .venv/ops.stamp ## start it again (NODE=)
	@$(KIT) node-start
verify: .venv/ops.stamp ## check the running instance, in seconds
	@$(KIT) verify
lab: .venv/ops.stamp ## the lab's routers, their links, and how to log in
	@$(KIT) lab
lab-fault: .venv/ops.stamp ## break a router of the lab, or repair it (ROUTER= KIND=)
	@$(KIT) lab-fault
doctor: ## what each provider needs, and how to get it (JSON=1 for programs)
	@python3 -m kit.doctor

# Nornir, Netmiko and dulwich, for the lesson "devices": only a lab has use for them.
DEVICES := $(if $(wildcard .kit/lab/ssh_config .kit/instances/$(KIT_INSTANCE)/lab/ssh_config),.venv/devices.stamp)

.PHONY: running
running: .venv/ops.stamp
	@$(KIT) ensure

demo: .venv/ops.stamp $(DEVICES) ## run the Flask demo (HOST= PORT=)
	@$(MAKE) --silent --no-print-directory --jobs=2 running .venv/demo.stamp # neither waits for the other
	@DEMO_KIT_DIR="$${DEMO_KIT_DIR:-$$(.venv/bin/python -c 'import kit.checkout as c; print(c.KIT_DIR)')}" DEMO_HOST="$(HOST)" DEMO_PORT="$(PORT)" exec .venv/bin/python -m demo_app

# The first brings a pip along that is quicker than most.
TESTED := .venv/test.stamp .venv/ops.stamp .venv/demo.stamp .venv/devices.stamp node_modules/.package-lock.json
test: $(TESTED) ## does this checkout work on this machine? leaves the instance as make up does
	@tests/install.sh
	@.venv/bin/python -m tests.run quick

test-all: $(TESTED) ## all tests, except test-vm, and of test-roles only the scenario upgrade
	@tests/install.sh
	@.venv/bin/python -m tests.run all

test-roles: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## molecule: each scenario in a container of its own (SCENARIO= SUITE=)
	@.venv/bin/python -m tests.scenarios

test-tls: $(TESTED) ## server, pages, edge and its faults with TLS=1, in an instance of their own
	@tests/install.sh
	@.venv/bin/python -m tests.run all --lanes TLS

test-devices: $(TESTED) ## a lab of 20 routers, in an instance of its own: what they do, who gets in, faults
	@tests/install.sh
	@.venv/bin/python -m tests.run all --lanes lab

# An instance of its own beside the checkout's, which is gone afterwards, whatever comes of it.
define with_instance
export KIT_INSTANCE=$(1); trap '$(KIT) destroy' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; $(KIT) up
endef

test-nodes: $(TESTED) ## three nodes, in an instance of their own, and one fault after another; writes docs/faults.md (ONLY=WORD)
	@tests/install.sh
	@export NODES=3; $(call with_instance,nodes) \
	    && FAULTS_PAGE=docs/faults.md .venv/bin/python -m pytest tests/nodes/test_nodes.py tests/nodes/test_growing.py $(if $(ONLY),-k "$(ONLY)", \
	    && METRICS=full KIT_METRICS_SECONDS=2 $(KIT) up && .venv/bin/python -m pytest tests/nodes/test_metrics.py)

test-versions: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## the publisher with the oldest Python here and Debian's newest, redis-py and Redis
	@export PROVIDER=local PATH="$$(tests/versions/newest_python.sh):$$PATH"; $(call with_instance,versions) \
	    && EVERY_VERSION=1 .venv/bin/python -m pytest -rA tests/versions

test-security: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp running ## each wall by itself, secrets, and 10,000 generated frames and requests
	@FUZZ_CONNECTIONS=2400 .venv/bin/python -m pytest -s tests/security

test-collection: .venv/ops.stamp .venv/test.stamp ## what Ansible Galaxy asks: ansible-test sanity, galaxy-importer, changelog
	@tests/collection/run.sh

test-faults: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## break one thing after another; writes docs/faults.md
	@tests/install.sh
	@$(KIT) up
	@FAULTS_PAGE=docs/faults.md .venv/bin/python -m pytest tests/faults/test_faults.py
	@export TLS=1; $(call with_instance,tls) && FAULTS_PAGE=docs/faults.md .venv/bin/python -m pytest tests/faults/test_edge.py

test-cures: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## real Docker, ufw, firewalld and a proxy in the way, and what docs/troubleshooting.md says of them
	@.venv/bin/python -m pytest -rA tests/surroundings/cures.py

mutants: $(TESTED) ## break the product in a copy, fault by fault: each must turn its tests red (ONLY=WORD)
	@tests/install.sh
	@tests/ruby/run.sh >/dev/null
	@.venv/bin/python -m tests.mutants.run "$(ONLY)"

test-vm: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## a real virtual machine, emulated, start to end: slow (QUICK=1 GUEST=1 UBUNTU_LIKE=1 KERNEL=1)
	@$(if $(KERNEL),KIT_INSTANCE=desktop TLS=1 SLOWER=7 .venv/bin/python -m pytest -s tests/vm/own_kernel.py,.venv/bin/python tests/vm/run.py)

SOCKETIO := bench/peers/socketio
$(SOCKETIO)/node_modules/.package-lock.json: $(SOCKETIO)/package-lock.json .npmrc .venv/test.stamp
	@$(NODEJS) npm ci --prefix $(SOCKETIO) --userconfig .npmrc --loglevel=error && touch $@

bench: .venv/ops.stamp .venv/demo.stamp .venv/bench.stamp $(SOCKETIO)/node_modules/.package-lock.json running ## measure side by side with peers; writes docs/benchmark.md (QUICK=1)
	@bench/run.sh

bench-up: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## seconds of make up: cold, cached, no-op; replaces the instance
	@bench/up.sh

bench-publisher: .venv/ops.stamp .venv/demo.stamp .venv/bench.stamp running ## what a message costs against a bare PUBLISH
	@.venv/bin/python -m bench.publisher

bench-nodes: .venv/ops.stamp .venv/demo.stamp .venv/bench.stamp running ## what a message costs each of three nodes; writes docs/benchmark.md
	@.venv/bin/python -m bench.nodes
	@.venv/bin/python -m bench.report

bench-devices: .venv/ops.stamp .venv/demo.stamp .venv/devices.stamp running ## a check of the lab: seconds by workers, what reporting costs; writes docs/devices.md
	@.venv/bin/python -m bench.devices

# Without the collector of cycles, as `make up` runs Ansible: a fifth less time.
ANSIBLE_LINT := PATH="$(CURDIR)/.venv/bin:$$PATH" python -P -c 'import gc, sys; gc.disable(); \
    from ansiblelint.__main__ import main; sys.exit(main())' --offline --profile production
lint: $(TESTED) ## ruff, mypy, tsc, ansible-lint, yamllint
	@$(MAKE) --no-print-directory --jobs=2 lint-roles lint-others

lint-roles:
	cd ansible && $(ANSIBLE_LINT)

lint-others:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(NODEJS) node_modules/.bin/tsc
	.venv/bin/yamllint --strict .
	cd kit/ansible && $(ANSIBLE_LINT) --exclude ../../ansible # which it would follow the roles into

dist: dist-collection dist-python dist-javascript ## build collection, wheel, source archive and npm package into dist/
dist-collection: .venv/ops.stamp ## build the collection's archive into dist/
	@rm -f dist/webdis_kit-server-* && mkdir -p dist
	@.venv/bin/ansible-galaxy collection build ansible --output-path dist >/dev/null

dist-python: .venv/test.stamp ## build wheel and source archive into dist/
	@rm -f dist/webdis_progress-*
	@cd clients/python && ../../.venv/bin/python -m hatchling build --directory ../../dist

dist-javascript: node_modules/.package-lock.json ## build the npm package into dist/
	@rm -rf clients/javascript/types && mkdir -p dist
	@$(NODEJS) node_modules/.bin/tsc -p clients/javascript
	@cp clients/PROTOCOL.md clients/javascript
	@$(NODEJS) npm pack ./clients/javascript --pack-destination dist --silent

sbom: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## write .kit/sbom.json: every Python package, as CycloneDX
	.venv/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --no-validate --output-file .kit/sbom.json .venv/bin/python

audit: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## look up known vulnerabilities of what is locked
	for lock in requirements/*.txt; do .venv/bin/pip-audit --strict --disable-pip --require-hashes --requirement $$lock || exit 1; done

screenshots: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp running ## take the pictures of the lessons again
	@tests/install.sh
	@.venv/bin/python -m pytest tests/e2e/test_tour.py -k 'accessible or moving'
	@# Those of the routers, of the CA and of the tutorial are left by make test-all.
	for picture in test-results/lesson-*-light.png test-results/lesson-*-dark.png test-results/ca-*.png test-results/tutorial-*.png test-results/start.webp; do [ ! -e "$$picture" ] || cp "$$picture" docs/images/; done

diagrams: .venv/ops.stamp .venv/demo.stamp .venv/test.stamp ## draw the diagrams of docs/ again
	@tests/install.sh
	cd docs/diagrams && $(NODEJS) npm ci --no-audit --no-fund
	.venv/bin/python docs/diagrams/render.py

role-docs: .venv/ops.stamp ## write the roles' README files again from their specifications
	@.venv/bin/python ansible/role_docs.py

dashboard: .venv/test.stamp ## write docs/dashboard/dashboard.json again
	@.venv/bin/python docs/dashboard/make.py

client-docs: .venv/test.stamp node_modules/.package-lock.json ## write the references in the clients' README files again
	@$(NODEJS) .venv/bin/python clients/reference.py

lock: ## resolve pyproject.toml into requirements/ again (needs uv)
	@requirements/lock.sh
