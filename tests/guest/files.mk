# The tiny guest: a real machine's worth of firmware boots it, no download.
#
#   hello.elf   the kernel, for -kernel: multiboot
#   hello.img   a bootable disk: boot sector, then the kernel as flat binary
#   hello.iso   a bootable CD that holds the same two
#
# They do not depend on VARIANT: the guest is never sanitized.

GUEST := build/guest
GUEST_OBJECTS := $(addprefix $(GUEST)/,start.o hello.o console.o machine.o)

GUEST_CFLAGS := -m32 -march=i386 -mgeneral-regs-only -std=gnu11 -Os \
  -ffreestanding -fno-pic -fno-stack-protector \
  -fno-asynchronous-unwind-tables -I. $(WARNINGS)

.PHONY: guest-images
guest-images: $(GUEST)/hello.elf $(GUEST)/hello.img $(GUEST)/hello.iso

$(GUEST)/%.o: tests/guest/%.c tests/guest/files.mk
	@mkdir -p $(@D)
	$(call QUIET,CC,$@)$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

$(GUEST)/%.o: tests/guest/%.S tests/guest/files.mk
	@mkdir -p $(@D)
	$(call QUIET,AS,$@)$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

# -n: not aligned to pages, which keeps the multiboot header near the start.
$(GUEST)/hello.elf: $(GUEST_OBJECTS) tests/guest/kernel.ld
	$(call QUIET,LD,$@)ld -m elf_i386 -n --no-warn-rwx-segments \
	    -T tests/guest/kernel.ld -o $@ $(GUEST_OBJECTS)

$(GUEST)/hello.bin: $(GUEST)/hello.elf
	$(call QUIET,BIN,$@)objcopy -O binary $< $@

$(GUEST)/boot.bin: $(GUEST)/boot.o
	$(call QUIET,BIN,$@)ld -m elf_i386 -Ttext 0x7c00 -e boot \
	    --oformat binary -o $@ $<

# A disk of 1 MiB, most of it a hole.
$(GUEST)/hello.img: $(GUEST)/boot.bin $(GUEST)/hello.bin
	$(call QUIET,IMG,$@)cat $^ >$@.new && truncate -s 1M $@.new && \
	    mv -f $@.new $@

$(GUEST)/make-iso: tests/guest/make-iso.c
	@mkdir -p $(@D)
	$(call QUIET,CC,$@)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 $(WARNINGS) \
	    -o $@ $<

$(GUEST)/hello.iso: $(GUEST)/make-iso $(GUEST)/hello.img
	$(call QUIET,ISO,$@)$^ $@

$(BUILD)/tests/flow/test_guest_image: | guest-images

-include $(wildcard $(GUEST)/*.d)
