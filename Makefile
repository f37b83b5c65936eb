# Short names for the real tools, no logic.

.PHONY: demo demo-down test test-all bench lint unit docs package sanity e2e format clean

demo: ## start the runbook's stack and run the whole story on it
	@demo/demo

demo-down: ## remove all that `make demo` has made, and nothing else
	@demo/demo down

test: ## all tests
	@python3 tests/run

test-all: ## all tests, the long ones too
	@python3 tests/run --all

bench: ## measure everything against the bare tools, into bench/results.json and docs/benchmarks.md
	@demo/prepare bench
	@demo/engine start
	@.venv/bin/python bench

lint unit docs package sanity e2e: ## one stage of the tests
	@python3 tests/run $@

format: ## let ruff write the Python style that `make lint` wants
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

clean: ## remove the tests' caches and reports
	@rm -rf .cache
