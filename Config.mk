# What a packager sets, on make's command line, in the environment or in
# config.local.mk (ignored by git).

-include $(TOP)/config.local.mk

ifeq ($(origin CC),default)
CC = gcc
endif
CFLAGS     ?= -O2 -g
DESTDIR    ?=
LDFLAGS    ?=
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
DATADIR    ?= $(PREFIX)/share
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR     ?= $(PREFIX)/lib
LIBEXECDIR ?= $(PREFIX)/libexec/libspawn
MANDIR     ?= $(DATADIR)/man
PLUGINDIR  ?= $(LIBDIR)/libspawn
# release, debug, asan (with UBSan), tsan or cov
VARIANT    ?= release
# musl's wrapper of gcc, with which spawn-watcher is built, because it starts
# faster; empty, or with another compiler: as everything else
MUSL_GCC   ?= $(if $(filter gcc,$(CC)),$(shell command -v musl-gcc 2>/dev/null))
# yes: a warning is an error; off in a release tarball, which has no .git
WERROR     ?= $(if $(wildcard $(TOP)/.git),yes,no)
# yes: build the plugin for Xen hosts (needs libxen-dev)
WITH_XEN   ?= $(if $(wildcard /usr/include/xenctrl.h),yes,no)
