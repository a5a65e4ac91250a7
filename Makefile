# What a person types. Every recipe is one line that can be pasted into a shell as it is.

.PHONY: help setup demo test faults fuzz dev check fmt bench openapi ci

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

setup: ## install what this machine lacks for all of these; says nothing when nothing is missing
	scripts/setup --tests

demo: ## build, start everything on this machine, do the main job once, serve until Ctrl-C (ARGS=--exit: then stop)
	scripts/setup && cargo build --release --package plimsoll && $${CARGO_TARGET_DIR:-target}/release/plimsoll demo $(ARGS)

test: ## the whole suite; the servers that it needs are started by the tests themselves
	scripts/setup --tests && cargo test --workspace --features tests/failpoints $(ARGS)

faults: ## kill, cut off and starve a real installation, and prove what holds (SEED=n ONLY=F1,F4 SOAK=seconds repeat a part)
	scripts/setup --faults && cargo test --package tests --features failpoints --test faults -- --all $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(SOAK),--soak $(SOAK)) $(ARGS)

fuzz: ## ask every operation of the OpenAPI document for what it may not do (ARGS='--examples 500 --seed 7')
	scripts/setup && scripts/fuzz $(ARGS)

dev: ## API, worker and scheduler from a debug build, with verbose logs
	scripts/setup && LOG_LEVEL=info,plimsoll=debug,api=debug,queue=debug,worker=debug cargo run --package plimsoll -- up

check: ## formatting, clippy with warnings denied, licences and advisories
	scripts/check

fmt: ## format all Rust code
	cargo fmt --all

bench: ## measure (ONLY=<suite> for one of them); tables here, numbers in target/bench/<suite>.json
	scripts/setup && cargo bench --package benches $(if $(ONLY),--bench $(ONLY)) $(ARGS)

openapi: ## print the OpenAPI document
	@cargo run --quiet --package plimsoll -- openapi

ci: ## what runs on every change
	.ci/run
