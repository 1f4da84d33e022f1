.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos check bench format docs clean

BIN := .venv/bin
PATHS := bellwire tests bench scripts

help: ## List these verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make the environment from the lock file, and the front-end files
	@scripts/bootstrap

demo: ## Run Bellwire with two fake stores and some hundred customers, and something to look at
	@scripts/bootstrap run
	@exec $(BIN)/bellwire demo

test: setup ## Linters, types and the whole test suite
	@scripts/system-packages test || [ -z "$$CI" ]
	@$(MAKE) --no-print-directory check
	@$(BIN)/pytest -n 2 --dist loadgroup

chaos: setup ## Kill the hub's real processes some 200 times and see that nothing is lost (KILLS=, SEED=, DATABASE=)
	@scripts/system-packages test
	@$(BIN)/python -m tests.chaos.run $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(ROUND),--round $(ROUND)) $(if $(DATABASE),--database $(DATABASE)) $(if $(VERBOSE),--verbose)

check: setup ## Linters, import rules and type checks
	@$(BIN)/ruff check --output-format concise $(PATHS)
	@$(BIN)/ruff format --check $(PATHS)
	@$(BIN)/python scripts/house-lint
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/pyrefly check

bench: ## Reference programs, other queues, and Bellwire's own rates beside them
	@scripts/bootstrap bench
	@scripts/system-packages bench
	@$(BIN)/python -m bench.run

format: setup ## Put the code into shape
	@$(BIN)/ruff check --fix-only --quiet $(PATHS)
	@$(BIN)/ruff format $(PATHS)

docs: setup ## Write the generated reference pages again
	@$(BIN)/python scripts/generate-docs

clean: ## Remove everything that was made here: environments, front-end files, the demo's data
	@rm -rf .venv .tools node_modules demo-data .ruff_cache .pytest_cache .hypothesis bellwire/web/dashboard/static/vendor
	@find bellwire tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
