# Everything that is done with this repository. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: up down test sim lint bench screenshots release release-test reproducible clean help

up: ## Build, start a fleet of this machine on 127.0.0.1:7070, run examples/hello.toml; Ctrl-C stops
	cargo build --release --locked
	@tests/up.sh up

down: ## Remove the workloads that `make up` started, and stop their processes
	@test -x target/release/fleetctl || cargo build --release --locked
	@tests/up.sh down

test: ## Run the whole suite with real engines (as root on Debian; installs what is missing)
	@tests/prepare.sh
	@tests/suite.sh

sim: ## Simulate a fleet with faults; SEEDS=100000 for a long run, SEED=123 for one with its log
	FLEET_SIM_SEED=$(SEED) FLEET_SIM_SEEDS=$(SEEDS) cargo test --locked --features planted-bugs \
		$(if $(SEEDS),--profile sim) --test integration -- --nocapture \
		$(if $(SEED)$(SEEDS),sim::whatever,sim::)

lint: ## Formatting, clippy, rustdoc; shellcheck and cargo-deny where they are installed
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	@if command -v shellcheck >/dev/null; then shellcheck --severity=warning tests/*.sh tests/release/*.sh packaging/debian/p* .ci/run; \
	else echo "shellcheck is not installed: scripts are not checked"; fi
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --config .deny.toml check bans licenses sources; \
	else echo "cargo-deny is not installed: dependencies are not checked"; fi

bench: ## Measure the static release binary; ARGS="--only NAME" for a part
	@tests/prepare.sh
	@tests/release/compile.sh x86_64-unknown-linux-musl target/dist/fleetctl
	@if [ -z "$(ARGS)" ]; then cargo bench --locked --bench decisions; fi
	@tests/suite.sh python3 tests/bench.py --binary target/dist/fleetctl --engines .engines $(ARGS)

screenshots: ## Make the pictures of the dashboard in packaging/screenshots anew, in a real browser
	@tests/prepare.sh
	@tests/screenshots.sh

release: ## Build binaries, tarballs and packages into target/dist; TARGETS="…" for some of them
	@TARGETS="$(TARGETS)" tests/release.sh

release-test: ## Test what `make release` made: every binary runs, every package installs
	@tests/prepare.sh
	@tests/suite.sh tests/release/test.sh

reproducible: ## Build what `make release` made a second time elsewhere; every byte must be the same
	@TARGETS="$(TARGETS)" tests/release/reproduce.sh

clean: ## Remove what was built, and stop the tests' engines; .data (the fleet of `make up`) stays
	cargo clean
	@if [ -d .engines ]; then tests/engines.sh stop .engines && rm -rf .engines; fi
	rm -rf .boards

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
