# Programs beside xl.

# The parent of each device model: static, because there is one per guest.
PROGRAMS += $(BUILD)/bin/spawn-watcher
SOURCES_spawn-watcher := \
  tools/spawn-watcher/attach.c \
  tools/spawn-watcher/confine.c \
  tools/spawn-watcher/end.c \
  tools/spawn-watcher/letters.c \
  tools/spawn-watcher/lock.c \
  tools/spawn-watcher/main.c \
  tools/spawn-watcher/oom.c \
  tools/spawn-watcher/start.c \
  tools/spawn-watcher/upgrade.c
LDFLAGS_spawn-watcher := $(WATCHER_LDFLAGS)

# With musl where there is one; then tests have the other, too (tests/files.mk).
MUSL_PROGRAMS := $(if $(MUSL),$(BUILD)/bin/spawn-watcher)
MUSL_SOURCES_spawn-watcher := $(SOURCES_spawn-watcher) \
  $(filter libspawn/base/% libspawn/loop/% libspawn/store/% \
    libspawn/wire/stream% libspawn/proc/exec% libspawn/proc/lock.c \
    libspawn/proc/lock_owner.c libspawn/proc/log.c libspawn/proc/notify.c \
    libspawn/proc/plan.c libspawn/proc/protocol.c libspawn/proc/record.c \
    libspawn/proc/status.c, $(LIBSPAWN_SOURCES))

# The same for guests on Xen, whose records are in xenstore.
ifeq ($(WITH_XEN),yes)
PROGRAMS += $(BUILD)/bin/spawn-watcher-xen
SOURCES_spawn-watcher-xen := \
  $(SOURCES_spawn-watcher) \
  libspawn/store/xenstore.c \
  tools/spawn-watcher/xen.c
LIBS_spawn-watcher-xen := -lxenstore -lxentoolcore
LDFLAGS_spawn-watcher-xen := $(WATCHER_LDFLAGS)
endif

# Does what could hang a supervisor: static as well, two for each guest.
PROGRAMS += $(BUILD)/bin/guest-worker
WORKER_SOURCES := \
  tools/guest-worker/io.c \
  tools/guest-worker/probe.c \
  tools/guest-worker/program.c \
  tools/guest-worker/script.c \
  tools/guest-worker/serve.c
SOURCES_guest-worker := tools/guest-worker/main.c $(WORKER_SOURCES)
LDFLAGS_guest-worker := $(WATCHER_LDFLAGS)

# Plays QEMU in tests: docs/man/test-device-model.1.
PROGRAMS += $(BUILD)/bin/test-device-model
SOURCES_test-device-model := \
  tools/test-device-model/announce.c \
  tools/test-device-model/keyval.c \
  tools/test-device-model/machine.c \
  tools/test-device-model/main.c \
  tools/test-device-model/monitor.c \
  tools/test-device-model/options.c \
  tools/test-device-model/report.c
LIBS_test-device-model := $(LIBSPAWN_LIBS)

# One per guest; `xl create` starts it.
PROGRAMS += $(BUILD)/bin/guest-supervisor
SOURCES_guest-supervisor := \
  tools/guest-supervisor/failure.c \
  tools/guest-supervisor/main.c \
  tools/guest-supervisor/monitor.c
LIBS_guest-supervisor := $(LIBSPAWN_LIBS)
