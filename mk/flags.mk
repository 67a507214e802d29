# Compiler and linker flags.  The user's CFLAGS and LDFLAGS come last.

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
  -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef \
  -Wcast-qual -Wvla -Wswitch-enum -Wimplicit-fallthrough
GCC_WARNINGS := -Wnull-dereference -Wduplicated-cond -Wduplicated-branches \
  -Wlogical-op
IS_CLANG := $(shell $(CC) --version 2>/dev/null | grep -c clang)
ifeq ($(IS_CLANG),0)
WARNINGS += $(GCC_WARNINGS)
else
# gcc lets a va_list pass through; clang wants an attribute on each function.
WARNINGS += -Wno-format-nonliteral
endif
ifeq ($(WERROR),yes)
WARNINGS += -Werror
endif

# Position-independent for programs and libraries alike: one set of objects.
HARDENING := -fstack-protector-strong -fPIC
HARDENING_LD := -pie -Wl,-z,relro,-z,now

# Each program and plugin keeps only what it uses of the library: starting one
# is mostly page faults.
SECTIONS := -ffunction-sections -fdata-sections
SECTIONS_LD := -Wl,--gc-sections

VARIANT_CFLAGS_release := -D_FORTIFY_SOURCE=2
VARIANT_CFLAGS_debug   := -O0 -ggdb3
VARIANT_CFLAGS_asan    := -O1 -fsanitize=address,undefined \
  -fno-sanitize-recover=undefined -fno-omit-frame-pointer
VARIANT_CFLAGS_tsan    := -O1 -fsanitize=thread
VARIANT_CFLAGS_cov     := -O0 --coverage
VARIANT_CFLAGS_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined \
  -fno-sanitize-recover=undefined -fno-omit-frame-pointer

VARIANT_LDFLAGS_asan := -fsanitize=address,undefined
VARIANT_LDFLAGS_tsan := -fsanitize=thread
VARIANT_LDFLAGS_cov  := --coverage
VARIANT_LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined

# A plugin that lacks a symbol fails when it is linked; and where one of its
# libraries became another, when it is loaded ("-z now" above).  Sanitizers'
# symbols may be those of the program.
PLUGIN_LDFLAGS := $(if $(filter release debug,$(VARIANT)),-z defs)

VERSION := 0.1.0
CPPFLAGS_ALL := -D_GNU_SOURCE -Ilibspawn -I. -DLIBSPAWN_VERSION='"$(VERSION)"' \
  -DLIBSPAWN_BINDIR='"$(BINDIR)"' -DLIBSPAWN_LIBEXECDIR='"$(LIBEXECDIR)"' \
  -DLIBSPAWN_PLUGINDIR='"$(PLUGINDIR)"'
CFLAGS_ALL := -std=gnu11 -fvisibility=hidden -fno-common $(WARNINGS) \
  $(HARDENING) $(SECTIONS) $(CFLAGS) $(VARIANT_CFLAGS_$(VARIANT))
LDFLAGS_ALL := $(HARDENING_LD) $(SECTIONS_LD) $(VARIANT_LDFLAGS_$(VARIANT)) $(LDFLAGS)

# Sanitizers cannot be linked statically; there the watcher is dynamic.
WATCHER_LDFLAGS := $(if $(filter release debug,$(VARIANT)),-static-pie)

# How spawn-watcher is built with musl: empty where it is not.  The wrapper
# hides the kernel's headers with those of glibc, and does not know
# -static-pie, so that what it stands for is written out.
MUSL := $(if $(filter release debug,$(VARIANT)),$(MUSL_GCC))
MUSL_CPPFLAGS := -idirafter /usr/include \
  -idirafter /usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
MUSL_LDFLAGS := -static -nostartfiles -Wl,-pie,--no-dynamic-linker,-z,text \
  -l:rcrt1.o -l:crti.o
MUSL_LIBS := -l:crtn.o
