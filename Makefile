# make demo    sets up .venv and pretrains MAST on the embedded dataset
# make compare sets up .venv and compares MAST with SimCLR and VICReg on the embedded dataset
# make test    sets up .venv and runs the tests
# make quick   the tests that neither train, compile nor start processes
# make lint    formatting, lint, types and which room may import from which
# make options writes the shipped files that list every option, from their declarations
# make architecture  writes the rooms and the augmentation types into their pages in docs/
# make host    solo-learn's own scripts on MAST's checkpoints; SOLO_LEARN=path of its main branch
# make readme  README's installation lines in fresh environments; SOLO_LEARN likewise

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed

.PHONY: demo compare test quick lint options architecture host readme clean

demo: $(INSTALLED)
	$(VENV)/bin/python main_pretrain.py --config-name mast.yaml

compare: $(INSTALLED)
	$(VENV)/bin/python main_compare.py "methods=[simclr,vicreg-light,mast]" "overrides={max_epochs:6}"

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

quick: $(INSTALLED)
	$(VENV)/bin/python -m pytest -q -m "not slow"

lint: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

options: $(INSTALLED)
	$(VENV)/bin/python -m mast_plugin.setting.reference

architecture: $(INSTALLED)
	$(VENV)/bin/python docs/architecture.py

# MAINLINE is an environment with solo-learn's main branch: see README.
MAINLINE ?= python3
host:
	SOLO_LEARN=$(SOLO_LEARN) $(MAINLINE) -m pytest tests/host/test_host_scripts.py

readme:
	$(PYTHON) tests/readme.py --solo-learn $(SOLO_LEARN)

# torch and torchvision come first and together, so that nothing later picks another pair. The
# solo-learn release asks for torch 1.9 in its metadata, hence --no-deps; what its code needs is in
# our extra. The compat mode puts the checkout itself on the path, where Hydra looks for plugins.
$(INSTALLED): setup.cfg setup.py mast_plugin.pth pyproject.toml Makefile
	@echo "Setting up $(VENV): about 5 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet torch==2.11.0 torchvision==0.26.0 "setuptools<81"
	$(PIP) install --quiet --no-deps solo-learn==1.0.2
	$(PIP) install --quiet --config-settings editable_mode=compat --editable ".[release,dali,export,test]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
