# libspawn and xl.  One make, not recursive: the files.mk of each folder only
# lists files.  `make help` lists the targets.

TOP := .
include Config.mk

BUILD := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))
OBJ   := $(BUILD)/obj

.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: all
all: programs ## build everything (the default); VARIANT=asan|tsan|debug|cov below build/<variant>/

include mk/flags.mk
include libspawn/files.mk xl/files.mk tools/files.mk tests/files.mk
include mk/rules.mk
include mk/install.mk
include mk/check.mk

.PHONY: programs
programs: $(PROGRAMS) $(LIBRARIES) $(PLUGINS)

.PHONY: deps
deps: ## install the Debian packages that are missing
	@mk/deps

.PHONY: demo
demo: deps ## create, look at and destroy a real guest; then one that fails
	@$(MAKE) --no-print-directory all guest-images
	@tools/demo

.PHONY: demo-xen
demo-xen: deps ## the same on a real Xen host inside QEMU
	@$(MAKE) --no-print-directory all guest-images
	@tools/demo-xen

.PHONY: bench
bench: deps ## speed and memory against the bare calls: a table, and JSON in build/bench/
	@$(MAKE) --no-print-directory all guest-images $(BENCH_PROGRAMS)
	@tests/bench/run

.PHONY: clean
clean: ## remove what was built (not the cached Xen host image)
	rm -rf $(filter-out build/xen-host,$(wildcard build/*))

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' \
	    Makefile mk/*.mk
