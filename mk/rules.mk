# How objects, archives, libraries and programs are made.
#
# A program P lists its sources in SOURCES_P and its libraries in LIBS_P; it
# is linked with the archives in ARCHIVES_P (default: libspawn.a).  One with
# musl has objects of its own, also of the library: MUSL_SOURCES_P.

V ?= 0
ifeq ($(V),0)
QUIET = @printf '  %-6s %s\n' $(1) $(2);
endif

objects = $(patsubst %.S,$(OBJ)/%.o,$(patsubst %.c,$(OBJ)/%.o,$(1)))

# Objects depend on the flags, so that a changed flag rebuilds.
FLAGS_FILE := $(OBJ)/flags
FLAGS_NOW := $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(MUSL)
$(FLAGS_FILE): FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' >$@.new
	@cmp -s $@.new $@ && rm -f $@.new || mv -f $@.new $@
.PHONY: FORCE
FORCE:

$(OBJ)/%.o: %.c $(FLAGS_FILE)
	@mkdir -p $(@D)
	$(call QUIET,CC,$@)$(CC) $(CPPFLAGS_ALL) $(CPPFLAGS_$*) $(CFLAGS_ALL) \
	    $(CFLAGS_$*) -MMD -MP -c -o $@ $<

$(BUILD)/lib/libspawn.a: $(call objects,$(LIBSPAWN_SOURCES))
	@mkdir -p $(@D)
	$(call QUIET,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/lib/libspawn.so: $(call objects,$(LIBSPAWN_SOURCES)) \
    libspawn/libspawn.map
	@mkdir -p $(@D)
	$(call QUIET,LD,$@)$(CC) -shared -Wl,-soname,libspawn.so.0 \
	    -Wl,--version-script=libspawn/libspawn.map \
	    $(filter-out -pie,$(LDFLAGS_ALL)) -o $@ $(filter %.o,$^) \
	    $(LIBSPAWN_LIBS)
	@ln -sf libspawn.so $(@D)/libspawn.so.0

$(BUILD)/lib/libspawn-xen.so: \
    $(call objects,$(XEN_PLUGIN_SOURCES))
	@mkdir -p $(@D)
	$(call QUIET,LD,$@)$(CC) -shared $(filter-out -pie,$(LDFLAGS_ALL)) \
	    $(PLUGIN_LDFLAGS) -o $@ $^ $(XEN_PLUGIN_LIBS)

$(BUILD)/lib/libspawn-xen-build.so: \
    $(call objects,$(XEN_BUILD_PLUGIN_SOURCES))
	@mkdir -p $(@D)
	$(call QUIET,LD,$@)$(CC) -shared $(filter-out -pie,$(LDFLAGS_ALL)) \
	    $(PLUGIN_LDFLAGS) -o $@ $^ $(XEN_BUILD_PLUGIN_LIBS)

$(BUILD)/lib/libspawn-png.so: \
    $(call objects,$(PNG_PLUGIN_SOURCES))
	@mkdir -p $(@D)
	$(call QUIET,LD,$@)$(CC) -shared $(filter-out -pie,$(LDFLAGS_ALL)) \
	    $(PLUGIN_LDFLAGS) -o $@ $^ $(PNG_PLUGIN_LIBS)

define program
$(1): $$(call objects,$$(SOURCES_$(notdir $(1)))) \
    $$(or $$(ARCHIVES_$(notdir $(1))),$$(BUILD)/lib/libspawn.a)
	@mkdir -p $$(@D)
	$$(call QUIET,LD,$$@)$$(CC) $$(LDFLAGS_ALL) \
	    $$(LDFLAGS_$(notdir $(1))) -o $$@ \
	    $$(filter %.o %.a,$$^) $$(LIBS_$(notdir $(1)))
endef

$(OBJ)/musl/%.o: %.c $(FLAGS_FILE)
	@mkdir -p $(@D)
	$(call QUIET,CC,$@)$(MUSL) $(CPPFLAGS_ALL) $(MUSL_CPPFLAGS) $(CFLAGS_ALL) \
	    -MMD -MP -c -o $@ $<

define musl_program
$(1): $$(patsubst %.c,$$(OBJ)/musl/%.o,$$(MUSL_SOURCES_$(notdir $(1))))
	@mkdir -p $$(@D)
	$$(call QUIET,LD,$$@)$$(MUSL) $$(filter-out -pie,$$(LDFLAGS_ALL)) \
	    $$(MUSL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(MUSL_LIBS)
endef

$(foreach p,$(MUSL_PROGRAMS),$(eval $(call musl_program,$(p))))
$(foreach p,$(filter-out $(MUSL_PROGRAMS),$(PROGRAMS)) $(TEST_PROGRAMS) $(BENCH_PROGRAMS) $(FUZZ_PROGRAMS),\
  $(eval $(call program,$(p))))

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
