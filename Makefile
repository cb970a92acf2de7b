# The two commands of the README, on a machine with only git, make and Python >= 3.11.
# uv is used where it is installed; otherwise a private copy goes to .uv/.
UV := $(or $(shell command -v uv),.uv/bin/uv)

.PHONY: demo test lint
demo: $(UV)
	$(UV) run toprung run digits_cnn

# Two processes: one for the tests that share a Ray, one for the others.
test: $(UV) lint
	$(UV) run pytest -n 2 --dist loadgroup

lint: $(UV)
	$(UV) run ruff check
	$(UV) run ruff format --check
	$(UV) run mypy

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet 'uv>=0.9,<1'
