# The library.  Order of folders: from the ground up (docs/ARCHITECTURE.md).

LIBSPAWN_SOURCES := \
  libspawn/base/clock.c \
  libspawn/base/err.c \
  libspawn/base/fd.c \
  libspawn/base/pidref.c \
  libspawn/base/random.c \
  libspawn/base/signals.c \
  libspawn/base/str.c \
  libspawn/base/utf8.c \
  libspawn/loop/loop.c \
  libspawn/wire/answer.c \
  libspawn/wire/json.c \
  libspawn/wire/json_pool.c \
  libspawn/wire/json_write.c \
  libspawn/wire/lines.c \
  libspawn/wire/qmp.c \
  libspawn/wire/qmp_session.c \
  libspawn/wire/rpc.c \
  libspawn/wire/rpc_client.c \
  libspawn/wire/rpc_link.c \
  libspawn/wire/rpc_server.c \
  libspawn/wire/rpc_session.c \
  libspawn/wire/stream.c \
  libspawn/wire/stream_fd.c \
  libspawn/wire/stream_message.c \
  libspawn/wire/stream_open.c \
  libspawn/wire/stream_socket.c \
  libspawn/wire/stream_tcp.c \
  libspawn/wire/stream_unix.c \
  libspawn/store/dir.c \
  libspawn/store/dir_journal.c \
  libspawn/store/dir_node.c \
  libspawn/store/dir_perms.c \
  libspawn/store/dir_txn.c \
  libspawn/store/dir_watch.c \
  libspawn/store/paths.c \
  libspawn/store/store.c \
  libspawn/proc/adopt.c \
  libspawn/proc/child.c \
  libspawn/proc/child_end.c \
  libspawn/proc/child_watcher.c \
  libspawn/proc/core_file.c \
  libspawn/proc/ctx.c \
  libspawn/proc/daemon.c \
  libspawn/proc/exec.c \
  libspawn/proc/exec_fds.c \
  libspawn/proc/exec_landlock.c \
  libspawn/proc/exec_limits.c \
  libspawn/proc/exec_place.c \
  libspawn/proc/exec_rights.c \
  libspawn/proc/exec_spawn.c \
  libspawn/proc/image.c \
  libspawn/proc/lock.c \
  libspawn/proc/lock_owner.c \
  libspawn/proc/lock_wait.c \
  libspawn/proc/log.c \
  libspawn/proc/notify.c \
  libspawn/proc/pidfile.c \
  libspawn/proc/plan.c \
  libspawn/proc/plan_check.c \
  libspawn/proc/plan_set.c \
  libspawn/proc/plan_user.c \
  libspawn/proc/program.c \
  libspawn/proc/protocol.c \
  libspawn/proc/reap.c \
  libspawn/proc/record.c \
  libspawn/proc/report.c \
  libspawn/proc/status.c \
  libspawn/proc/worker.c \
  libspawn/proc/worker_calls.c \
  libspawn/proc/worker_life.c \
  libspawn/proc/worker_queue.c \
  libspawn/proc/worker_throttle.c \
  libspawn/proc/worker_wire.c \
  libspawn/dm/args.c \
  libspawn/dm/dm.c \
  libspawn/dm/end.c \
  libspawn/dm/probe.c \
  libspawn/dm/probe_cache.c \
  libspawn/dm/restrict.c \
  libspawn/dm/restrict_uid.c \
  libspawn/dm/serial.c \
  libspawn/dm/vnc.c \
  libspawn/guest/config.c \
  libspawn/guest/config_fields.c \
  libspawn/guest/config_json.c \
  libspawn/guest/confine.c \
  libspawn/guest/create.c \
  libspawn/guest/events.c \
  libspawn/guest/events_follow.c \
  libspawn/guest/events_reader.c \
  libspawn/guest/examine.c \
  libspawn/guest/held.c \
  libspawn/guest/host.c \
  libspawn/guest/intent.c \
  libspawn/guest/libxl_json.c \
  libspawn/guest/look.c \
  libspawn/guest/monitor.c \
  libspawn/guest/names.c \
  libspawn/guest/ops.c \
  libspawn/guest/pci.c \
  libspawn/guest/pci_address.c \
  libspawn/guest/pci_list.c \
  libspawn/guest/pci_rules.c \
  libspawn/guest/pci_sysfs.c \
  libspawn/guest/pci_table.c \
  libspawn/guest/next_config.c \
  libspawn/guest/plugin.c \
  libspawn/guest/qemu/args.c \
  libspawn/guest/qemu/create.c \
  libspawn/guest/qemu/files.c \
  libspawn/guest/qemu/firmware.c \
  libspawn/guest/qemu/hand.c \
  libspawn/guest/qemu/list.c \
  libspawn/guest/qemu/paths.c \
  libspawn/guest/qemu/qemu.c \
  libspawn/guest/qemu/status.c \
  libspawn/guest/removal.c \
  libspawn/guest/serials.c \
  libspawn/guest/supervised.c \
  libspawn/guest/supervised_start.c \
  libspawn/guest/supervised_tidy.c \
  libspawn/guest/supervision.c \
  libspawn/guest/sweep.c \
  libspawn/guest/vdev.c \
  libspawn/guest/wait.c \
  libspawn/guest/xen_detect.c \
  libspawn/service/admission.c \
  libspawn/service/states.c \
  libspawn/service/supervisor.c \
  libspawn/service/supervisor_control.c \
  libspawn/service/supervisor_doors.c \
  libspawn/service/supervisor_events.c \
  libspawn/service/supervisor_handover.c \
  libspawn/service/supervisor_memory.c \
  libspawn/service/supervisor_model.c \
  libspawn/service/supervisor_monitor.c \
  libspawn/service/supervisor_policy.c \
  libspawn/service/supervisor_recovery.c \
  libspawn/service/supervisor_removal.c \
  libspawn/service/supervisor_stop.c \
  libspawn/service/supervisor_workers.c

LIBSPAWN_LIBS := -lyajl -ldl

LIBRARIES := $(BUILD)/lib/libspawn.a $(BUILD)/lib/libspawn.so

# The plugin for Xen hosts.  It has its own copy of the library, so that it
# needs nothing from whoever loads it, and shows only its table.  What makes a
# guest's memory is in a second one, with libxenguest.
ifeq ($(WITH_XEN),yes)
XEN_BUILD_SOURCES := \
  libspawn/guest/xen/builder.c \
  libspawn/guest/xen/firmware.c \
  libspawn/guest/xen/image.c

XEN_BASE_SOURCES := \
  libspawn/guest/xen/announce.c \
  libspawn/guest/xen/arguments.c \
  libspawn/guest/xen/backend.c \
  libspawn/guest/xen/close.c \
  libspawn/guest/xen/console.c \
  libspawn/guest/xen/cpuset.c \
  libspawn/guest/xen/create.c \
  libspawn/guest/xen/device.c \
  libspawn/guest/xen/devices.c \
  libspawn/guest/xen/disk.c \
  libspawn/guest/xen/domain.c \
  libspawn/guest/xen/end.c \
  libspawn/guest/xen/files.c \
  libspawn/guest/xen/firmware.c \
  libspawn/guest/xen/guest.c \
  libspawn/guest/xen/history.c \
  libspawn/guest/xen/hypervisor.c \
  libspawn/guest/xen/info.c \
  libspawn/guest/xen/job.c \
  libspawn/guest/xen/memory.c \
  libspawn/guest/xen/nic.c \
  libspawn/guest/xen/nodes.c \
  libspawn/guest/xen/prepare.c \
  libspawn/guest/xen/sched.c \
  libspawn/guest/xen/script.c \
  libspawn/guest/xen/tree.c \
  libspawn/guest/xen/xen.c \
  libspawn/store/xenstore.c
XEN_BASE_LIBS := -lxenctrl -lxenstore

XEN_PLUGIN_SOURCES := $(LIBSPAWN_SOURCES) $(XEN_BASE_SOURCES)
XEN_PLUGIN_LIBS := -Wl,-Bsymbolic \
  -Wl,--version-script=libspawn/guest/xen/plugin.map \
  $(LIBSPAWN_LIBS) $(XEN_BASE_LIBS)

XEN_BUILD_PLUGIN_SOURCES := $(XEN_BUILD_SOURCES) \
  libspawn/base/err.c \
  libspawn/base/fd.c \
  libspawn/base/str.c \
  libspawn/base/utf8.c \
  libspawn/guest/xen/xen.c
XEN_BUILD_PLUGIN_LIBS := -Wl,-Bsymbolic \
  -Wl,--version-script=libspawn/guest/xen/builder.map \
  -lxenctrl -lxenforeignmemory -lxenguest

# All of it, for tests that are linked with it.
XEN_SOURCES := $(sort $(XEN_BASE_SOURCES) $(XEN_BUILD_SOURCES))
XEN_LIBS := $(XEN_BASE_LIBS) -lxenforeignmemory -lxenguest

PLUGINS += $(BUILD)/lib/libspawn-xen.so $(BUILD)/lib/libspawn-xen-build.so
endif

# Loaded only for a screenshot of a device model that cannot write PNG.
PNG_PLUGIN_SOURCES := \
  libspawn/base/err.c \
  libspawn/base/utf8.c \
  libspawn/guest/png/picture.c
PNG_PLUGIN_LIBS := -lpng
PLUGINS += $(BUILD)/lib/libspawn-png.so
