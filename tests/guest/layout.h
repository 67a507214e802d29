/*
 * What the boot sector, the linker script and the kernel agree on; for C and
 * for assembly.
 */
#ifndef TESTS_GUEST_LAYOUT_H
#define TESTS_GUEST_LAYOUT_H

#define SECTOR_SIZE 512
#define BOOT_AT 0x7c00        /* where a BIOS puts the boot sector */
#define KERNEL_READ_AT 0x7e00 /* where the kernel is read to: right behind */
#define KERNEL_SECTORS 16     /* what is read of it; see kernel.ld */
#define KERNEL_AT 0x100000    /* where it runs */

/* Multiboot Specification 0.6.96, 3.1.1 and 3.2. */
#define MULTIBOOT_HEADER_MAGIC 0x1badb002
#define MULTIBOOT_HEADER_FLAGS 0x3 /* align modules, tell about memory */
#define MULTIBOOT_LOADER_MAGIC 0x2badb002
#define MULTIBOOT_HAS_COMMAND_LINE (1 << 2)
#define MULTIBOOT_HAS_MODULES (1 << 3)
#define MULTIBOOT_HAS_MEMORY_MAP (1 << 6)

/* The interrupt controllers. */
#define PIC1_PORT 0x20
#define PIC2_PORT 0xa0
#define PIC_END_OF_INTERRUPT 0x20

/* Selectors; the same in the boot sector's table and in the kernel's. */
#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10

#endif
