# The two commands of the README, on a machine with only git, make and Python >= 3.11.
# uv is used where it is installed; otherwise a private copy goes to .uv/.
UV := $(or $(shell command -v uv),.uv/bin/uv)

.PHONY: demo test lint chromium
demo: $(UV)
	$(UV) run toprung run digits_cnn

# Two processes: one for the tests that share a Ray, one for the others.
test: $(UV) chromium lint
	$(UV) run pytest -n 2 --dist loadgroup

lint: $(UV)
	$(UV) run ruff check
	$(UV) run ruff format --check
	$(UV) run mypy

# The tests open the report in a real browser. $CHROMIUM may name another executable.
BROWSERS := chromium chromium-browser google-chrome
AS_ROOT := $(if $(filter 0,$(shell id -u)),,$(if $(shell command -v sudo),sudo,no-root))
chromium:
	@$(foreach name,$(CHROMIUM) $(BROWSERS),command -v $(name) > /dev/null ||) \
	if command -v apt-get > /dev/null && [ "$(AS_ROOT)" != no-root ]; then \
	  $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install -y --no-install-recommends chromium; \
	else \
	  echo "The tests need a browser: install chromium (or google-chrome), or set CHROMIUM" >&2; \
	  exit 1; \
	fi

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet 'uv>=0.9,<1'
