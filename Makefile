# Everything a newcomer needs; CI runs the same through .ci/run.

CARGO ?= cargo
# Clippy's limits lie in .ci/clippy.toml.
export CLIPPY_CONF_DIR := $(CURDIR)/.ci

.PHONY: help build demo test lint bench faults fuzz packages

help:
	@echo 'make demo   see it work: throw-away servers, a restore, an undo, the mail (a minute, after the build)'
	@echo 'make test   the whole suite, against real servers on loopback'
	@echo 'make lint   formatting and clippy'
	@echo 'make bench  measured beside other tools, ten minutes: docs/benchmarks.md; BENCH="--help" says what can be chosen'
	@echo 'make fuzz   the fuzz targets, ten minutes each, two at a time: about an hour; MINUTES=1 TARGETS="zip_gate dump" JOBS=1'
	@echo 'make faults hundreds of faults of each kind, the oracle after each, an hour at most: docs/faults.md; FAULTS="--help" says what can be chosen'
	@echo 'make build  the program: target/release/backupctl'

build:
	$(CARGO) build --locked --release --bin backupctl

demo: packages
	$(CARGO) build --locked --bin backupctl --example demo
	@$(CARGO) run --locked --quiet --example demo

test: packages
	$(CARGO) test --locked

bench:
	@.ci/packages bench
	$(CARGO) build --locked --release --bin backupctl --example bench
	@$(CARGO) run --locked --quiet --release --example bench -- $(BENCH)

# Needs cargo-fuzz, which it installs, and a C++ compiler; findings are in target/fuzz/artifacts.
fuzz:
	@tests/fuzz/run

faults: packages
	$(CARGO) test --locked --test backupctl -- run::wide --ignored
	FAULTS='$(FAULTS)' $(CARGO) test --locked --test backupctl matrix::every_fault -- --ignored --nocapture

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/fuzz/Cargo.toml
	$(CARGO) clippy --all-targets --locked -- -D warnings

packages:
	@.ci/packages
