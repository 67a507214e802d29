# Tests and checks.  `make check` runs what a change must pass; the other
# targets are parts of it, or slower looks at the same code.
#
# Everything runs under mk/run-tests, which shows a line per test program,
# keeps logs in build/logs/ and counts.

RUN_TESTS := mk/run-tests

# Slower variants say so in the names of their results: "asan/unit".
GROUP := $(if $(filter-out release,$(VARIANT)),$(VARIANT)/)

# Sanitizers report by ending the process and take their time; TSan of gcc 12
# knows only the old layout of addresses.
export ASAN_OPTIONS  := detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1
export UBSAN_OPTIONS := print_stacktrace=1
export TSAN_OPTIONS  := halt_on_error=1
UNDER := $(if $(filter asan tsan,$(VARIANT)),CK_TIMEOUT_MULTIPLIER=4) \
  $(if $(filter tsan,$(VARIANT)),setarch -R)

# ITEMS of run-tests for a list of programs.
items = $(foreach p,$(1),'$(notdir $(p))=$(UNDER) $(p)')

# In order: what fails early comes first.
CHECK_STAGES := check-style check-words check-sanity check-unit check-fuzz \
  check-flow check-cli check-api check-xen check-asan check-tidy fuzz-smoke

.PHONY: check
check: ## all that a change must pass, installing missing packages; the last line counts
	@MAKE='$(MAKE)' mk/check-all $(CHECK_STAGES)

# Files that stand for the guests of the tests, made by tests/guest.
.PHONY: guest-images

# ---- Tests ------------------------------------------------------------------

.PHONY: check-sanity check-unit check-flow check-cli check-fuzz
check-sanity: $(SANITY_PROGRAMS) ## the test harness and the checks themselves
	@$(RUN_TESTS) -g $(GROUP)sanity \
	    $(call items,$(filter-out %/must_fail,$(SANITY_PROGRAMS))) \
	    $(if $(GROUP),,tests/sanity/check-checks)

check-unit: $(PROGRAMS) $(UNIT_PROGRAMS) ## tests of single source files (under a minute)
	@$(RUN_TESTS) -g $(GROUP)unit $(call items,$(UNIT_PROGRAMS))

check-flow: all guest-images $(FLOW_PROGRAMS) $(SWEEP_PROGRAMS) $(FAKES) ## whole operations, with real device models
	@$(RUN_TESTS) -g $(GROUP)flow \
	    $(call items,$(FLOW_PROGRAMS) $(SWEEP_PROGRAMS)) \
	    $(foreach w,$(GLIBC_WATCHER),$(foreach t,exec upgrade,\
	        'test_spawn_$(t)_glibc=$(UNDER) STORY_WATCHER=$(w) \
	        $(BUILD)/tests/flow/test_spawn_$(t)'))

check-cli: all guest-images $(CLI_PROGRAMS) $(FAKES) ## the command line, as a user meets it
	@$(RUN_TESTS) -g $(GROUP)cli $(call items,$(CLI_PROGRAMS)) \
	    $(if $(GROUP),,tests/cli/check-docs \
	        tests/cli/check-installed tests/cli/check-keys \
	        tests/cli/check-states)

check-fuzz: $(FUZZ_PROGRAMS) ## what fuzzing found, and its corpus, once more
	@$(RUN_TESTS) -g $(GROUP)fuzz $(foreach t,$(FUZZ_TARGETS),\
	    '$(t)=$(BUILD)/tests/fuzz/$(t) $(wildcard tests/fuzz/corpus/$(t) tests/fuzz/crashes/$(t))')

# ---- The same under other conditions ----------------------------------------

# One target after the other, going on after a failure.
define in_variant
@status=0; for target in $(2); do \
    $(MAKE) --no-print-directory VARIANT=$(1) $$target || status=1; \
done; exit $$status
endef

.PHONY: check-asan check-tsan check-valgrind check-cov
check-asan: ## tests with the address and undefined-behaviour sanitizers
	+$(call in_variant,asan,check-sanity check-unit check-fuzz check-flow check-cli)

check-tsan: ## tests with the thread sanitizer
	+$(call in_variant,tsan,check-unit check-flow)

# The callers with threads, and the example of docs/examples that has some.
THREADED := $(filter %/test_exec %/test_stream_names %/test_spawn_threads,\
  $(UNIT_PROGRAMS) $(FLOW_PROGRAMS))
EXAMPLE_THREADS := $(BUILD)/tests/example_threads
$(EXAMPLE_THREADS): docs/examples/threads.c $(BUILD)/lib/libspawn.a
	@mkdir -p $(@D)
	$(call QUIET,LD,$@)$(CC) -Ilibspawn/include $(CFLAGS_ALL) \
	    $(LDFLAGS_ALL) -pthread -o $@ $^ $(LIBSPAWN_LIBS)

.PHONY: check-threads threads
check-threads: ## what has threads, with the thread sanitizer
	+$(call in_variant,tsan,threads)

threads: all $(THREADED) $(EXAMPLE_THREADS)
	@mkdir -p $(BUILD)/tmp
	@SPAWN_WATCHER=$(CURDIR)/$(BUILD)/bin/spawn-watcher \
	$(RUN_TESTS) -g $(GROUP)threads $(call items,$(THREADED)) \
	    'example=cd $(BUILD)/tmp && \
	        $(UNDER) $(CURDIR)/$(EXAMPLE_THREADS) /bin/sh -c "exit 3"; \
	        test $$? = 3'

# The watcher is not followed: it is static, and valgrind sees nothing of the
# memory of such programs.  Descriptors are counted by the harness itself.
VALGRIND := CK_TIMEOUT_MULTIPLIER=20 valgrind --quiet --leak-check=full \
  --errors-for-leak-kinds=definite --error-exitcode=99

# What valgrind (3.19) cannot run: it has no pidfds, so that an end is looked
# for and not told; it keeps RLIMIT_NOFILE to itself; one thread that waits for
# a lock stops all; its programs are named "memcheck"; and it is slow.
VALGRIND_NOT := test_guest_wait test_lock test_rpc_server_bad \
  test_store_dir_crash test_test_device_model test_worker_wire
VALGRIND_TESTS := $(filter-out $(addprefix $(BUILD)/tests/unit/,$(VALGRIND_NOT)), \
    $(UNIT_PROGRAMS)) \
  $(filter %/test_spawn_adopt %/test_spawn_caller %/test_spawn_life \
    %/test_spawn_monitor %/test_spawn_ready %/test_spawn_record \
    %/test_spawn_release %/test_spawn_stop %/test_spawn_threads, \
    $(FLOW_PROGRAMS))
check-valgrind: all $(VALGRIND_TESTS) ## unit tests, and callers of the library, under valgrind
	@$(RUN_TESTS) -g valgrind -t 900 \
	    $(foreach p,$(VALGRIND_TESTS),'$(notdir $(p))=$(VALGRIND) $(p)')

check-cov: ## unit and flow tests with a table of what they reach
	+$(call in_variant,cov,check-unit check-flow)
	@mk/coverage build/cov/obj

# One after the other, going on after a failure.
LONG_STAGES := sweep-all check-threads check-valgrind check-systemd \
  sweep-all-xen
.PHONY: check-long $(LONG_STAGES)
check-long: ## every failure in turn, here and on a Xen host, with totals; threads; valgrind; systemd (half an hour)
	@status=0; for stage in $(LONG_STAGES); do \
	    $(MAKE) --no-print-directory $$stage || status=1; \
	done; exit $$status

SWEEP_ALL := SWEEP=full CK_TIMEOUT_MULTIPLIER=60
sweep-all: all $(LONG_PROGRAMS) $(SWEEP_PROGRAMS) $(FAKES)
	@$(SWEEP_ALL) $(RUN_TESTS) -g $(GROUP)long \
	    -t 3600 $(foreach p,$(LONG_PROGRAMS) $(SWEEP_PROGRAMS),'$(notdir $(p))=$(p)'); \
	status=$$?; sed -n 's/^sweep: /  /p' \
	    $${CHECK_LOGS:-build/logs}/$(GROUP)long/test_sweep_*.log; \
	exit $$status

check-systemd: all ## the unit of a supervisor under systemd, in a machine of its own (a minute)
	@$(RUN_TESTS) -g systemd -t 1200 systemd=tests/systemd/check-systemd

XEN_SWEEPS := $(filter %/test_sweep_xenstored,$(XEN_PROGRAMS))
sweep-all-xen: all $(XEN_SWEEPS)
	@$(SWEEP_ALL) XEN_TIMEOUT=3600 mk/run-xen-tests -g long-xen -t 3600 \
	    $(XEN_SWEEPS); \
	status=$$?; sed -n 's/^sweep: /  /p' \
	    build/logs/xen-host/long-xen/test_sweep_*.log; \
	exit $$status

.PHONY: check-xen
check-xen: all guest-images $(XEN_PROGRAMS) ## tests on a real Xen host, booted once inside QEMU
	@mk/run-xen-tests $(XEN_PROGRAMS)

# ---- Fuzzing ----------------------------------------------------------------

FUZZ_SECONDS ?= 10
.PHONY: fuzz-smoke fuzz-run
fuzz-smoke: ## every fuzz target for a few seconds (FUZZ_SECONDS=10)
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzz-run

fuzz-run: $(FUZZ_PROGRAMS)
	@mkdir -p $(BUILD)/corpus $(FUZZ_TARGETS:%=$(BUILD)/corpus/%) \
	    $(FUZZ_TARGETS:%=tests/fuzz/crashes/%)
	@$(RUN_TESTS) -g fuzz-smoke $(foreach t,$(FUZZ_TARGETS),\
	    '$(t)=$(BUILD)/tests/fuzz/$(t) -max_total_time=$(FUZZ_SECONDS) \
	    -timeout=5 -error_exitcode=1 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
	    -artifact_prefix=tests/fuzz/crashes/$(t)/ $(BUILD)/corpus/$(t) \
	    $(wildcard tests/fuzz/corpus/$(t))')

# ---- Looks at the source ----------------------------------------------------

.PHONY: check-style check-words check-api check-tidy check-format format
check-style: ## forbidden calls, layers, comments, sizes (seconds)
	@$(RUN_TESTS) -g style calls=mk/check-words layers=mk/check-layers \
	    comments=mk/check-comments 'limits=mk/metrics --check' \
	    'acceptance=mk/acceptance >/dev/null'

check-words: ## spelling, and shell scripts
	@$(RUN_TESTS) -g words 'codespell=mk/check-spelling' \
	    'shellcheck=mk/check-shell'

check-api: all $(BUILD)/libspawn.pc ## exported symbols, headers, manual; a staged installation, examples
	@$(RUN_TESTS) -g api -t 300 \
	    'symbols=mk/check-symbols $(BUILD)/lib/libspawn.so' \
	    headers=mk/check-headers manual=tests/api/check-manual \
	    unit=tests/systemd/check-unit \
    install=tests/sanity/check-install examples=tests/api/check-examples

TIDY_SOURCES := $(filter-out libspawn/guest/xen/%,$(LIBSPAWN_SOURCES)) \
  $(if $(filter yes,$(WITH_XEN)),$(filter libspawn/guest/xen/%,$(LIBSPAWN_SOURCES) $(XEN_PLUGIN_SOURCES))) \
  $(sort $(foreach p,$(PROGRAMS),$(SOURCES_$(notdir $(p)))))
TIDY_STAMPS := $(patsubst %.c,$(BUILD)/tidy/%.ok,$(sort $(filter %.c,$(TIDY_SOURCES))))

check-tidy: ## clang-tidy, with the checks of .clang-tidy
	@$(RUN_TESTS) -g tidy -t 600 \
	    'clang-tidy=MAKEFLAGS= $(MAKE) --no-print-directory -k -j2 VARIANT=$(VARIANT) tidy-files'

.PHONY: tidy-files
tidy-files: $(TIDY_STAMPS)
$(TIDY_STAMPS): $(BUILD)/tidy/%.ok: %.c .clang-tidy $(wildcard libspawn/*/*.h libspawn/*/*/*.h)
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- -std=gnu11 $(CPPFLAGS_ALL) $(CPPFLAGS_$*) \
	    $(CFLAGS_$*) 2>/dev/null
	@touch $@

# The formatter cannot lay out everything as a person does, so this shows and
# does not fail; `make format FILES=...` applies it.
check-format: ## where clang-format would write something else (never fails)
	@for file in $$(mk/source-files c h); do \
	    clang-format "$$file" | diff -u --label "$$file" --label formatted \
	        "$$file" -; \
	done; true

format: ## let clang-format rewrite FILES=...
	$(if $(FILES),clang-format -i $(FILES),@echo 'usage: make format FILES="..."'; exit 2)

.PHONY: metrics acceptance
metrics: ## sizes of functions and files, per folder
	@mk/metrics

acceptance: ## every promised scenario, and the tests that cover it
	@mk/acceptance
