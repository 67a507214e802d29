# xl.cfg to the typed configuration; tests link it too.
XL_CFG_SOURCES := \
  xl/cfg.c \
  xl/cfg_combine.c \
  xl/cfg_disk.c \
  xl/cfg_keys.c \
  xl/cfg_lex.c \
  xl/cfg_nic.c \
  xl/cfg_parse.c \
  xl/cfg_part.c \
  xl/cfg_pci.c \
  xl/cfg_set.c \
  xl/cfg_unsupported.c

PROGRAMS += $(BUILD)/bin/xl
SOURCES_xl := \
  $(XL_CFG_SOURCES) \
  xl/common.c \
  xl/config_update.c \
  xl/console.c \
  xl/create.c \
  xl/create_here.c \
  xl/create_show.c \
  xl/create_supervised.c \
  xl/dm_list.c \
  xl/events.c \
  xl/list.c \
  xl/lock.c \
  xl/main.c \
  xl/pci.c \
  xl/paths.c \
  xl/shutdown.c \
  xl/simple.c \
  xl/supervise.c \
  xl/terminal.c
LIBS_xl := $(LIBSPAWN_LIBS)
