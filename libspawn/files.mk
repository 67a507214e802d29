# The library.  Order of folders: from the ground up (docs/ARCHITECTURE.md).

LIBSPAWN_SOURCES := \
  libspawn/base/clock.c \
  libspawn/base/err.c \
  libspawn/base/fd.c \
  libspawn/base/pidref.c \
  libspawn/base/str.c \
  libspawn/base/utf8.c \
  libspawn/loop/loop.c \
  libspawn/wire/json.c \
  libspawn/wire/json_pool.c \
  libspawn/wire/json_write.c \
  libspawn/wire/qmp.c \
  libspawn/wire/qmp_session.c \
  libspawn/wire/stream.c \
  libspawn/store/dir.c \
  libspawn/store/dir_journal.c \
  libspawn/store/dir_node.c \
  libspawn/store/dir_perms.c \
  libspawn/store/dir_txn.c \
  libspawn/store/dir_watch.c \
  libspawn/store/paths.c \
  libspawn/store/store.c \
  libspawn/proc/child.c \
  libspawn/proc/ctx.c \
  libspawn/proc/exec.c \
  libspawn/proc/lock.c \
  libspawn/proc/log.c \
  libspawn/proc/plan.c \
  libspawn/proc/record.c \
  libspawn/proc/report.c \
  libspawn/proc/status.c \
  libspawn/dm/args.c \
  libspawn/dm/dm.c \
  libspawn/dm/end.c \
  libspawn/guest/config.c \
  libspawn/guest/config_fields.c \
  libspawn/guest/config_json.c \
  libspawn/guest/create.c \
  libspawn/guest/host.c \
  libspawn/guest/intent.c \
  libspawn/guest/libxl_json.c \
  libspawn/guest/monitor.c \
  libspawn/guest/names.c \
  libspawn/guest/ops.c \
  libspawn/guest/qemu/args.c \
  libspawn/guest/qemu/create.c \
  libspawn/guest/qemu/files.c \
  libspawn/guest/qemu/list.c \
  libspawn/guest/qemu/paths.c \
  libspawn/guest/qemu/qemu.c \
  libspawn/guest/vdev.c \
  libspawn/guest/xen_detect.c

LIBSPAWN_LIBS := -lyajl -ldl

LIBRARIES := $(BUILD)/lib/libspawn.a
