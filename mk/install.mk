# Installation.  Each part can be installed alone; DESTDIR is put in front of
# every path; `make uninstall` with the same settings removes what was
# installed.

INSTALL ?= install

# Programs that only other programs start.
LIBEXEC_NAMES := guest-supervisor guest-worker spawn-watcher spawn-watcher-xen

LIBEXEC_PROGRAMS := $(filter $(LIBEXEC_NAMES:%=$(BUILD)/bin/%),$(PROGRAMS))
BIN_PROGRAMS := $(filter-out $(LIBEXEC_PROGRAMS),$(PROGRAMS))
SHARED_LIBRARY := $(filter %.so,$(LIBRARIES))
STATIC_LIBRARY := $(filter %.a,$(LIBRARIES))
PUBLIC_HEADERS := $(sort $(wildcard libspawn/include/*.h))
MAN_PAGES := $(sort $(wildcard docs/man/*.[1-8]))

SONAME := libspawn.so.0
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
# Where bash looks for the completion of a command, by the command's name.
COMPLETIONDIR ?= $(DATADIR)/bash-completion/completions

# Units of systemd; nothing here needs it.
UNITDIR ?= $(LIBDIR)/systemd/system

.PHONY: install install-lib install-bin install-libexec install-headers \
  install-pkgconfig install-man install-completion install-units uninstall
install: install-lib install-bin install-libexec install-headers \
  install-pkgconfig install-man install-completion install-units ## install everything below DESTDIR and PREFIX

install-lib: $(LIBRARIES) $(PLUGINS) ## ... the libraries, and their plugins
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)
	$(if $(STATIC_LIBRARY),$(INSTALL) -m 644 $(STATIC_LIBRARY) $(DESTDIR)$(LIBDIR))
	$(if $(SHARED_LIBRARY),$(INSTALL) -m 755 $(SHARED_LIBRARY) \
	    $(DESTDIR)$(LIBDIR)/libspawn.so.$(VERSION))
	$(if $(SHARED_LIBRARY),ln -sf libspawn.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME))
	$(if $(SHARED_LIBRARY),ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libspawn.so)
	$(if $(PLUGINS),$(INSTALL) -d $(DESTDIR)$(PLUGINDIR))
	$(if $(PLUGINS),$(INSTALL) -m 755 $(PLUGINS) $(DESTDIR)$(PLUGINDIR))

install-bin: $(BIN_PROGRAMS) ## ... the commands
	$(INSTALL) -d $(DESTDIR)$(BINDIR)
	$(if $(BIN_PROGRAMS),$(INSTALL) -m 755 $(BIN_PROGRAMS) $(DESTDIR)$(BINDIR))

install-libexec: $(LIBEXEC_PROGRAMS) ## ... programs that only others start
	$(INSTALL) -d $(DESTDIR)$(LIBEXECDIR)
	$(if $(LIBEXEC_PROGRAMS),$(INSTALL) -m 755 $(LIBEXEC_PROGRAMS) $(DESTDIR)$(LIBEXECDIR))

install-headers: ## ... the public headers
	$(INSTALL) -d $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 644 $(PUBLIC_HEADERS) $(DESTDIR)$(INCLUDEDIR)

$(BUILD)/libspawn.pc: libspawn/libspawn.pc.in Config.mk mk/install.mk $(FLAGS_FILE)
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@LIBEXECDIR@|$(LIBEXECDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBS_PRIVATE@|$(filter-out -lyajl,$(LIBSPAWN_LIBS))|' $< >$@

install-pkgconfig: $(BUILD)/libspawn.pc ## ... the pkg-config file
	$(INSTALL) -d $(DESTDIR)$(PKGCONFIGDIR)
	$(INSTALL) -m 644 $< $(DESTDIR)$(PKGCONFIGDIR)

install-man: ## ... the manual pages
	$(foreach s,$(sort $(patsubst .%,%,$(suffix $(MAN_PAGES)))),\
	    $(INSTALL) -d $(DESTDIR)$(MANDIR)/man$(s) && $(INSTALL) -m 644 \
	    $(filter %.$(s),$(MAN_PAGES)) $(DESTDIR)$(MANDIR)/man$(s) &&) true

install-completion: ## ... the completion for bash
	$(INSTALL) -d $(DESTDIR)$(COMPLETIONDIR)
	$(INSTALL) -m 644 completion/xl.bash $(DESTDIR)$(COMPLETIONDIR)/xl

UNIT := guest-supervisor@.service
$(BUILD)/$(UNIT): tools/guest-supervisor/$(UNIT).in Config.mk mk/install.mk $(FLAGS_FILE)
	@mkdir -p $(@D)
	@sed -e 's|@LIBEXECDIR@|$(LIBEXECDIR)|' $< >$@

install-units: $(BUILD)/$(UNIT) ## ... the unit for systemd
	$(INSTALL) -d $(DESTDIR)$(UNITDIR)
	$(INSTALL) -m 644 $< $(DESTDIR)$(UNITDIR)

INSTALLED := $(addprefix $(LIBDIR)/,$(notdir $(STATIC_LIBRARY)) \
    $(if $(SHARED_LIBRARY),libspawn.so.$(VERSION) $(SONAME) libspawn.so)) \
  $(addprefix $(BINDIR)/,$(notdir $(BIN_PROGRAMS))) \
  $(addprefix $(LIBEXECDIR)/,$(notdir $(LIBEXEC_PROGRAMS))) \
  $(addprefix $(PLUGINDIR)/,$(notdir $(PLUGINS))) \
  $(addprefix $(INCLUDEDIR)/,$(notdir $(PUBLIC_HEADERS))) \
  $(PKGCONFIGDIR)/libspawn.pc \
  $(COMPLETIONDIR)/xl \
  $(UNITDIR)/$(UNIT) \
  $(foreach m,$(MAN_PAGES),$(MANDIR)/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m)))

uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	@rmdir $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(PLUGINDIR) 2>/dev/null || :
