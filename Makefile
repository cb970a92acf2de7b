# The two commands of the README, on a machine with only git, make and Python >= 3.11.
# uv is used where it is installed; otherwise a private copy goes to .uv/.
UV := $(or $(shell command -v uv),.uv/bin/uv)

.PHONY: demo test lint docs test-programs test-versions
demo: $(UV)
	$(UV) run toprung run digits_cnn

# Two processes: one for the tests that share a Ray, one for the others.
test: $(UV) test-programs lint
	$(UV) run pytest -n 2 --dist loadgroup --no-loadscope-reorder --max-worker-restart 0

# The lowest and the newest versions of all that Toprung stands on, on each Python.
test-versions: $(UV)
	$(UV) run --no-project python -m benchmarks.versions

lint: $(UV)
	$(UV) run ruff check
	$(UV) run ruff format --check
	$(UV) run mypy

docs: $(UV)
	$(UV) run --group docs sphinx-build -W -b html -c docs . docs/_build/html

# Besides Python the tests need a real browser, in which they open the report ($CHROMIUM may name
# another executable), and PostgreSQL's server, which they start. Debian's packages, if missing.
BROWSERS := chromium chromium-browser google-chrome
SERVERS := postgres $(wildcard /usr/lib/postgresql/*/bin/postgres)
first-of = $(firstword $(foreach name,$(1),$(shell command -v $(name))))
MISSING = $(strip $(if $(call first-of,$(CHROMIUM) $(BROWSERS)),,chromium) \
  $(if $(call first-of,$(SERVERS)),,postgresql))
AS_ROOT := $(if $(filter 0,$(shell id -u)),,$(if $(shell command -v sudo),sudo,no-root))
test-programs:
	@if [ -z "$(MISSING)" ]; then :; \
	elif command -v apt-get > /dev/null && [ "$(AS_ROOT)" != no-root ]; then \
	  $(AS_ROOT) apt-get update && \
	  $(AS_ROOT) apt-get install -y --no-install-recommends $(MISSING); \
	else \
	  echo "The tests need these to be installed: $(MISSING)" >&2; \
	  exit 1; \
	fi

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet 'uv>=0.9,<1'
