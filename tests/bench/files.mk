# Benchmarks: `make bench`.  Not tests: they print bars, met or missed.

BENCH_SHARED_SOURCES := tests/bench/bench.c

BENCH_PROGRAMS := $(BUILD)/bench/bench-host $(BUILD)/bench/bench-xen \
  $(BUILD)/bench/bench-lib $(BUILD)/bench/bench-caller \
  $(BUILD)/bench/bench-runtime $(BUILD)/bench/bench-supervisor
SOURCES_bench-host := tests/bench/bench_host.c tests/bench/bench_xl.c \
  $(BENCH_SHARED_SOURCES)
LIBS_bench-host := $(LIBSPAWN_LIBS)
SOURCES_bench-xen := tests/bench/bench_xen.c $(BENCH_SHARED_SOURCES)
LIBS_bench-xen := $(LIBSPAWN_LIBS)
SOURCES_bench-lib := tests/bench/bench_lib.c tests/bench/bench_child.c \
  tests/bench/bench_lib_callers.c tests/bench/bench_lib_conmon.c \
  tests/bench/bench_lib_crowd.c tests/bench/bench_lib_watchers.c \
  $(BENCH_SHARED_SOURCES)
LIBS_bench-lib := $(LIBSPAWN_LIBS)
SOURCES_bench-caller := tests/bench/bench_caller.c tests/bench/bench_child.c \
  $(BENCH_SHARED_SOURCES)
LIBS_bench-caller := $(LIBSPAWN_LIBS)
SOURCES_bench-runtime := tests/bench/bench_runtime.c
LIBS_bench-runtime := $(LIBSPAWN_LIBS)
SOURCES_bench-supervisor := tests/bench/bench_supervisor.c \
  tests/bench/bench_xl.c $(BENCH_SHARED_SOURCES)
LIBS_bench-supervisor := $(LIBSPAWN_LIBS)
