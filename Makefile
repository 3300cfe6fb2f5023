# Everything a newcomer needs; CI runs the same through .ci/run.

CARGO ?= cargo
# Clippy's limits lie in .ci/clippy.toml.
export CLIPPY_CONF_DIR := $(CURDIR)/.ci

# Where `make install` puts things; DESTDIR goes before it.
PREFIX ?= /usr/local
# The time of the sources, so that the same sources give the same bytes. Not for cargo: it would build all C code anew for each commit.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)

.PHONY: help build demo test lint bench faults fuzz packages man install dist dist-test

help:
	@echo 'make demo   see it work: throw-away servers, a restore, an undo, the mail (a minute, after the build)'
	@echo 'make test   the whole suite, against real servers on loopback'
	@echo 'make lint   formatting and clippy'
	@echo 'make bench  measured beside other tools, ten minutes: docs/benchmarks.md; BENCH="--help" says what can be chosen'
	@echo 'make fuzz   the fuzz targets, ten minutes each, two at a time: about an hour; MINUTES=1 TARGETS="zip_gate dump" JOBS=1'
	@echo 'make faults hundreds of faults of each kind, the oracle after each, an hour at most: docs/faults.md; FAULTS="--help" says what can be chosen'
	@echo 'make build  the program: target/release/backupctl'
	@echo 'make install the program, its manual and completions below PREFIX=/usr/local, once it is built; DESTDIR= for a package'
	@echo 'make dist   a static program and a Debian package: target/dist; make dist-test installs it on a clean Debian'
	@echo 'make man    the manual pages: target/man'

build:
	$(CARGO) build --locked --release --bin backupctl

man:
	@rm -rf target/man
	$(CARGO) run --locked --quiet --example man -- target/man "$$(date -u -d @$(SOURCE_DATE_EPOCH) +%F)"

# Builds nothing, so that `sudo make install` leaves no files of root's behind.
install:
	@test -x target/release/backupctl && test -e target/man/backupctl.1 || { echo 'first, as yourself: make build man' >&2; exit 1; }
	packaging/install target/release/backupctl target/man "$(DESTDIR)" "$(PREFIX)"

dist: man
	@.ci/packages dist
	CARGO='$(CARGO)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' packaging/dist

dist-test: dist
	SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' packaging/test

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
