# Benchmarks: `make bench`.  Not tests: they print bars, met or missed.

BENCH_SHARED_SOURCES := tests/bench/bench.c

BENCH_PROGRAMS := $(BUILD)/bench/bench-host $(BUILD)/bench/bench-xen \
  $(BUILD)/bench/bench-caller
SOURCES_bench-host := tests/bench/bench_host.c $(BENCH_SHARED_SOURCES)
LIBS_bench-host := $(LIBSPAWN_LIBS)
SOURCES_bench-xen := tests/bench/bench_xen.c $(BENCH_SHARED_SOURCES)
LIBS_bench-xen := $(LIBSPAWN_LIBS)
SOURCES_bench-caller := tests/bench/bench_caller.c $(BENCH_SHARED_SOURCES)
LIBS_bench-caller := $(LIBSPAWN_LIBS)
