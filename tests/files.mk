# Tests.  A program is one line in the list of its folder; its source is
# tests/FOLDER/NAME.c.  What else it needs goes into EXTRA_SOURCES_NAME and
# EXTRA_LIBS_NAME, set before the rules below.  Names are unique over all
# folders.

TEST_LIB_SOURCES := \
  tests/lib/harness.c \
  tests/lib/helpers.c \
  tests/lib/leftovers.c \
  tests/lib/processes.c

# One per source file; no root, no network, no real device model.
UNIT_TESTS := \
  test_admission \
  test_cfg_corpus \
  test_cfg_keys \
  test_cfg_load \
  test_cfg_memory \
  test_config \
  test_core_file \
  test_dm_end \
  test_events \
  test_events_reader \
  test_exec \
  test_fd \
  test_guest_wait \
  test_intent \
  test_json \
  test_lock \
  test_log \
  test_loop \
  test_notify \
  test_paths \
  test_pci \
  test_pci_address \
  test_pci_memory \
  test_pci_sysfs \
  test_pci_table \
  test_pidfile \
  test_pidref \
  test_plan \
  test_plan_check \
  test_probe_cache \
  test_qmp \
  test_qmp_end \
  test_record \
  test_report \
  test_rpc_client \
  test_rpc_memory \
  test_rpc_server \
  test_rpc_server_bad \
  test_rpc_session \
  test_rpc_transports \
  test_serial \
  test_states \
  test_store_dir \
  test_store_dir_crash \
  test_store_memory \
  test_str \
  test_stream \
  test_stream_names \
  test_stream_tcp \
  test_test_device_model \
  test_test_device_model_qmp \
  test_utf8 \
  test_vdev \
  test_wire_memory \
  test_worker_throttle \
  test_worker_wire \
  test_xen_detect

EXTRA_SOURCES_fuzz_cfg = $(XL_CFG_SOURCES)

# The parts of guest/xen that need no hypervisor.
ifeq ($(WITH_XEN),yes)
XEN_UNIT_TESTS := \
  test_xen_announce \
  test_xen_arguments \
  test_xen_cpuset \
  test_xen_history \
  test_xen_memory \
  test_xen_nodes \
  test_xen_script
UNIT_TESTS += $(XEN_UNIT_TESTS)
$(foreach t,$(XEN_UNIT_TESTS),\
  $(eval EXTRA_SOURCES_$(t) = tests/unit/xen_scene.c $(XEN_SOURCES)) \
  $(eval EXTRA_LIBS_$(t) = $(XEN_LIBS)))
endif

EXTRA_SOURCES_test_cfg_corpus = $(XL_CFG_SOURCES)
EXTRA_SOURCES_test_cfg_keys = $(XL_CFG_SOURCES)
EXTRA_SOURCES_test_cfg_load = $(XL_CFG_SOURCES)
EXTRA_SOURCES_test_cfg_stock = $(XL_CFG_SOURCES)
EXTRA_SOURCES_test_cfg_memory = $(XL_CFG_SOURCES)
EXTRA_SOURCES_test_lock := tests/flow/lock_story.c
EXTRA_SOURCES_test_lock_wait := tests/flow/lock_story.c
EXTRA_SOURCES_test_pci := tests/lib/pci_tree.c
EXTRA_SOURCES_test_pci_memory := tests/lib/memory.c tests/lib/pci_tree.c
EXTRA_LIBS_test_pci_memory = $(EXTRA_LIBS_test_wire_memory)
EXTRA_SOURCES_test_pci_sysfs := tests/lib/pci_tree.c
EXTRA_SOURCES_test_qmp := tests/unit/qmp_scene.c
EXTRA_SOURCES_test_qmp_end := tests/unit/qmp_scene.c
$(foreach t,$(filter test_rpc_%,$(UNIT_TESTS)),$(eval \
  EXTRA_SOURCES_$(t) := tests/unit/rpc_scene.c))
EXTRA_SOURCES_test_rpc_memory := tests/lib/memory.c
EXTRA_LIBS_test_rpc_memory = $(EXTRA_LIBS_test_wire_memory)
STORE_CONTRACT := tests/unit/store_contract.c \
  tests/unit/store_contract_node.c \
  tests/unit/store_contract_txn.c \
  tests/unit/store_contract_watch.c
EXTRA_SOURCES_test_store_dir := $(STORE_CONTRACT)
EXTRA_SOURCES_test_store_dir_crash := tests/unit/store_contract.c
EXTRA_SOURCES_test_store_memory := tests/unit/store_contract.c tests/lib/memory.c
EXTRA_SOURCES_test_store_xenstore := $(STORE_CONTRACT) libspawn/store/xenstore.c
EXTRA_LIBS_test_store_memory = $(EXTRA_LIBS_test_wire_memory)
EXTRA_LIBS_test_store_dir := -Wl,--wrap=syscall
EXTRA_LIBS_test_store_xenstore := -lxenstore
EXTRA_LIBS_test_cfg_memory = $(EXTRA_LIBS_test_wire_memory)
EXTRA_LIBS_test_wire_memory := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup,--wrap=vasprintf

# Whole operations, against QEMU and fakes.
FLOW_TESTS := \
  test_daemon \
  test_guest_image \
  test_lock_wait \
  test_probe \
  test_qmp_qemu \
  test_reap \
  test_restrict \
  test_spawn_adopt \
  test_spawn_caller \
  test_spawn_confined \
  test_spawn_death \
  test_spawn_exec \
  test_spawn_inherit \
  test_spawn_life \
  test_spawn_log \
  test_spawn_memory \
  test_spawn_monitor \
  test_spawn_plan_bad \
  test_spawn_plan_landlock \
  test_spawn_plan_limits \
  test_spawn_plan_place \
  test_spawn_plan_rights \
  test_spawn_qemu \
  test_spawn_ready \
  test_spawn_record \
  test_spawn_release \
  test_spawn_socket \
  test_spawn_stop \
  test_spawn_threads \
  test_spawn_upgrade \
  test_worker \
  test_worker_io \
  test_worker_life \
  test_worker_memory \
  test_worker_probe \
  test_worker_process

$(foreach t,$(filter test_spawn_%,$(FLOW_TESTS)),$(eval \
  EXTRA_SOURCES_$(t) := tests/flow/spawn_story.c))
$(foreach t,$(filter test_worker%,$(FLOW_TESTS)),$(eval \
  EXTRA_SOURCES_$(t) := tests/flow/worker_story.c))
EXTRA_SOURCES_test_spawn_memory += tests/lib/memory.c
$(foreach t,$(filter test_spawn_plan_%,$(FLOW_TESTS)),$(eval \
  EXTRA_SOURCES_$(t) += tests/flow/plan_story.c))
EXTRA_SOURCES_test_worker_memory += tests/lib/memory.c
EXTRA_LIBS_test_worker_memory = $(EXTRA_LIBS_test_wire_memory)
EXTRA_LIBS_test_spawn_memory = $(EXTRA_LIBS_test_wire_memory)
EXTRA_SOURCES_test_spawn_confined += tools/spawn-watcher/confine.c
EXTRA_LIBS_test_spawn_adopt := -Wl,--wrap=ioctl
EXTRA_SOURCES_test_spawn_monitor += tests/flow/dm_story.c
EXTRA_SOURCES_test_spawn_qemu += tests/flow/dm_story.c
EXTRA_SOURCES_test_spawn_record += tests/flow/recycle.c
EXTRA_SOURCES_test_spawn_death += tests/flow/kill_at.c

# These have limits that are a hundredth of the true ones but with SWEEP=full.
LONG_TESTS := \
  test_worker_io \
  test_worker_life \
  test_worker_probe

LONG_CLI_TESTS := \
  test_xl_admission \
  test_xl_recovery \
  test_xl_supervised

# Every failure in turn: a part of them quickly, all with SWEEP=full.
SWEEP_TESTS := \
  test_sweep_crash \
  test_sweep_fail \
  test_sweep_kernel \
  test_sweep_many \
  test_sweep_memory \
  test_sweep_recycle \
  test_sweep_soak

$(foreach t,$(SWEEP_TESTS),$(eval \
  EXTRA_SOURCES_$(t) := tests/sweep/deed.c))
EXTRA_SOURCES_test_sweep_crash += tests/sweep/crash.c tests/sweep/lead.c
EXTRA_SOURCES_test_sweep_fail += tests/sweep/gate.c
EXTRA_SOURCES_test_sweep_memory += tests/lib/memory.c
EXTRA_LIBS_test_sweep_memory = $(EXTRA_LIBS_test_wire_memory)
$(foreach t,kernel recycle,$(eval \
  EXTRA_SOURCES_test_sweep_$(t) += tests/flow/plan_story.c))
$(foreach t,kernel many recycle,$(eval \
  EXTRA_SOURCES_test_sweep_$(t) += tests/flow/spawn_story.c))
EXTRA_SOURCES_test_sweep_recycle += tests/flow/recycle.c
EXTRA_SOURCES_test_sweep_soak += tests/sweep/soak_action.c \
  tests/sweep/soak_guest.c tests/sweep/soak_story.c \
  tests/cli/supervised_story.c tests/cli/xl_story.c

# Runs of the programs, as a user would.
CLI_TESTS := \
  test_xl_admission \
  test_xl_config \
  test_xl_config_update \
  test_xl_control \
  test_xl_events \
  test_xl_failures \
  test_xl_files \
  test_xl_firmware \
  test_xl_interrupted \
  test_xl_json \
  test_xl_life \
  test_xl_list \
  test_xl_lock \
  test_xl_monitor \
  test_xl_pci \
  test_xl_pipe \
  test_xl_recovery \
  test_xl_restrict \
  test_xl_sandbox \
  test_xl_serial \
  test_xl_state \
  test_xl_supervise \
  test_xl_supervised \
  test_xl_usage \
  test_xl_workers

$(foreach t,$(filter test_xl_%,$(CLI_TESTS)),$(eval \
  EXTRA_SOURCES_$(t) := tests/cli/xl_story.c))
EXTRA_SOURCES_test_xl_life += tests/flow/recycle.c
EXTRA_SOURCES_test_xl_admission += tests/cli/supervised_story.c
EXTRA_SOURCES_test_xl_control += tests/cli/supervised_story.c
EXTRA_SOURCES_test_xl_monitor += tests/cli/supervised_states.c \
  tests/cli/supervised_story.c
EXTRA_SOURCES_test_xl_recovery += tests/cli/supervised_story.c
EXTRA_SOURCES_test_xl_serial += tests/cli/supervised_story.c
EXTRA_SOURCES_test_xl_supervise += tests/cli/supervised_states.c \
  tests/cli/supervised_story.c
EXTRA_SOURCES_test_xl_supervised += tests/cli/supervised_story.c
EXTRA_SOURCES_test_xl_pci += tests/cli/supervised_story.c \
  tests/lib/pci_tree.c
EXTRA_SOURCES_test_xl_lock += tests/flow/lock_story.c
EXTRA_SOURCES_test_xl_interrupted += tests/flow/kill_at.c \
  tests/cli/supervised_story.c

# What needs a real Xen host; skipped elsewhere (make check-xen).
XEN_TESTS := \
  test_cfg_stock \
  $(if $(filter yes,$(WITH_XEN)),test_store_xenstore test_sweep_xenstored \
      test_xen_domain) \
  test_xen_restrict \
  test_xl_guest

EXTRA_SOURCES_test_sweep_xenstored := tests/sweep/crash.c tests/sweep/deed.c \
  tests/sweep/lead.c libspawn/store/xenstore.c
EXTRA_LIBS_test_sweep_xenstored := -lxenstore
$(foreach t,xen_restrict xl_guest,$(eval \
  EXTRA_SOURCES_test_$(t) := tests/xen/xen_story.c))
EXTRA_SOURCES_test_xen_domain = $(XEN_SOURCES)
EXTRA_LIBS_test_xen_domain = $(XEN_LIBS)

# Programs that tests start, such as fakes: tests/fake/NAME.c.
FAKE_PROGRAMS := \
  forgetful_watcher \
  trial_daemon \
  trial_worker

EXTRA_SOURCES_forgetful_watcher = $(SOURCES_spawn-watcher) tests/lib/memory.c
EXTRA_LIBS_forgetful_watcher = $(EXTRA_LIBS_test_wire_memory)
LDFLAGS_forgetful_watcher := $(WATCHER_LDFLAGS)
EXTRA_SOURCES_trial_worker = $(WORKER_SOURCES)

# spawn-watcher as it is where there is no musl, for STORY_WATCHER.
ifneq ($(MUSL),)
GLIBC_WATCHER := tests/fake/spawn-watcher-glibc
SOURCES_spawn-watcher-glibc := $(SOURCES_spawn-watcher)
LDFLAGS_spawn-watcher-glibc := $(LDFLAGS_spawn-watcher)
endif

# The harness itself; must_fail holds the failures that it has to report.
SANITY_TESTS := \
  must_fail \
  test_harness

TEST_LIBS := $(shell pkg-config --libs check 2>/dev/null) $(LIBSPAWN_LIBS)

define test_program
SOURCES_$(1) := tests/$(2)/$(1).c $$(TEST_LIB_SOURCES) $$(EXTRA_SOURCES_$(1))
LIBS_$(1) := $$(EXTRA_LIBS_$(1)) $$(TEST_LIBS)
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call test_program,$(t),unit)))
$(foreach t,$(FLOW_TESTS),$(eval $(call test_program,$(t),flow)))
$(foreach t,$(SWEEP_TESTS),$(eval $(call test_program,$(t),sweep)))
$(foreach t,$(CLI_TESTS),$(eval $(call test_program,$(t),cli)))
$(foreach t,$(XEN_TESTS),$(eval $(call test_program,$(t),xen)))
$(foreach t,$(SANITY_TESTS),$(eval $(call test_program,$(t),sanity)))

define fake_program
SOURCES_$(1) := tests/fake/$(1).c $$(EXTRA_SOURCES_$(1))
LIBS_$(1) := $$(EXTRA_LIBS_$(1))
endef
$(foreach t,$(FAKE_PROGRAMS),$(eval $(call fake_program,$(t))))

UNIT_PROGRAMS   := $(UNIT_TESTS:%=$(BUILD)/tests/unit/%)
FLOW_PROGRAMS   := $(FLOW_TESTS:%=$(BUILD)/tests/flow/%)
LONG_PROGRAMS   := $(LONG_TESTS:%=$(BUILD)/tests/flow/%) \
  $(LONG_CLI_TESTS:%=$(BUILD)/tests/cli/%)
SWEEP_PROGRAMS  := $(SWEEP_TESTS:%=$(BUILD)/tests/sweep/%)
CLI_PROGRAMS    := $(CLI_TESTS:%=$(BUILD)/tests/cli/%)
XEN_PROGRAMS    := $(XEN_TESTS:%=$(BUILD)/tests/xen/%)
SANITY_PROGRAMS := $(SANITY_TESTS:%=$(BUILD)/tests/sanity/%)
FAKES           := $(FAKE_PROGRAMS:%=$(BUILD)/tests/fake/%) \
  $(GLIBC_WATCHER:%=$(BUILD)/%)

TEST_PROGRAMS := $(UNIT_PROGRAMS) $(FLOW_PROGRAMS) $(SWEEP_PROGRAMS) \
  $(CLI_PROGRAMS) \
  $(XEN_PROGRAMS) $(SANITY_PROGRAMS) $(FAKES)

# Fuzz targets: tests/fuzz/NAME.c defines LLVMFuzzerTestOneInput.  VARIANT=fuzz
# makes fuzzers of them, every other variant programs that replay files; seeds
# are in tests/fuzz/corpus/NAME/, what ever failed in tests/fuzz/crashes/NAME/.
FUZZ_TARGETS := \
  fuzz_cfg \
  fuzz_json \
  fuzz_notify \
  fuzz_plan \
  fuzz_probe_cache \
  fuzz_qmp \
  fuzz_record \
  fuzz_rpc \
  fuzz_watcher \
  fuzz_worker

define fuzz_program
SOURCES_$(1) := tests/fuzz/$(1).c $$(EXTRA_SOURCES_$(1)) \
  $(if $(filter fuzz,$(VARIANT)),,tests/lib/replay.c)
LIBS_$(1) := $$(EXTRA_LIBS_$(1)) $$(LIBSPAWN_LIBS)
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call fuzz_program,$(t))))
FUZZ_PROGRAMS := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/%)

include tests/bench/files.mk

include tests/guest/files.mk
