/*
 * The boot sector: reads the kernel that lies behind it, asks the BIOS for
 * the memory map, enters protected mode, moves the kernel to 1 MiB and starts
 * it the way a multiboot loader would.
 *
 * Memory while this runs:
 *
 *   0x0500   multiboot information, then the memory map
 *   0x7c00   the stack, downwards; this sector, upwards
 *   0x7e00   the kernel, as it was read
 *
 * From a CD (El Torito, no emulation) the BIOS has read the kernel too, so
 * there is nothing to read; that is seen by the magic number it begins with.
 */
#include "tests/guest/layout.h"

#define INFO_AT 0x500
#define INFO_SIZE 52 /* up to and including mmap_addr */
#define INFO_MMAP_LENGTH 44
#define INFO_MMAP_ADDR 48
#define MAP_AT (INFO_AT + INFO_SIZE)
#define MAP_ENTRY_SIZE 20

#define SMAP 0x534d4150 /* "SMAP", which INT 15h, EAX=E820h wants and gives */

        .code16
        .globl  boot
boot:
        ljmp    $0, $1f                 /* some BIOSes start at 07c0:0000 */
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $BOOT_AT, %sp
        cld

/* The kernel; the BIOS left the number of its drive in DL. */
        cmpl    $MULTIBOOT_HEADER_MAGIC, KERNEL_READ_AT
        je      ask_memory
        movw    $read_packet, %si
        movb    $0x42, %ah              /* INT 13h, AH=42h: extended read */
        int     $0x13
        jc      failed

/* The memory map: each entry is preceded by its size, as multiboot has it. */
ask_memory:
        movw    $MAP_AT, %di
        xorl    %ebx, %ebx
1:      movl    $0xe820, %eax
        movl    $SMAP, %edx
        movl    $MAP_ENTRY_SIZE, %ecx
        movl    %ecx, (%di)
        addw    $4, %di
        int     $0x15
        jc      2f                      /* no such call, or behind the last */
        cmpl    $SMAP, %eax
        jne     2f
        addw    $MAP_ENTRY_SIZE, %di
        testl   %ebx, %ebx              /* zero: that was the last */
        jnz     1b
        jmp     3f
2:      subw    $4, %di                 /* the entry that did not come */
3:      movw    %di, %dx

/* The multiboot information: the map and nothing else. */
        movw    $INFO_AT, %di
        movw    $INFO_SIZE, %cx
        xorb    %al, %al
        rep stosb
        movl    $MULTIBOOT_HAS_MEMORY_MAP, INFO_AT
        subw    $MAP_AT, %dx
        movw    %dx, INFO_AT + INFO_MMAP_LENGTH
        movw    $MAP_AT, INFO_AT + INFO_MMAP_ADDR

/* Protected mode, with address line 20 open. */
        cli
        inb     $0x92, %al
        orb     $2, %al
        andb    $0xfe, %al              /* bit 0 would reset the machine */
        outb    %al, $0x92
        lgdt    gdt_register
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $CODE_SELECTOR, $in_protected_mode

failed:
        movw    $message, %si
1:      lodsb
        testb   %al, %al
        jz      2f
        movw    $0x0007, %bx
        movb    $0x0e, %ah              /* INT 10h, AH=0Eh: teletype output */
        int     $0x10
        jmp     1b
2:      hlt
        jmp     2b

        .code32
in_protected_mode:
        movw    $DATA_SELECTOR, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $KERNEL_READ_AT, %esi
        movl    $KERNEL_AT, %edi
        movl    $(KERNEL_SECTORS * SECTOR_SIZE / 4), %ecx
        rep movsl
        /* Memory survives a reset; the next boot shall read afresh. */
        movl    $0, KERNEL_READ_AT
        movl    $MULTIBOOT_LOADER_MAGIC, %eax
        movl    $INFO_AT, %ebx
        movl    KERNEL_AT + 12, %ecx    /* start.S has put the entry there */
        jmp     *%ecx

read_packet:
        .byte   16, 0
        .word   KERNEL_SECTORS
        .word   KERNEL_READ_AT, 0       /* offset, segment */
        .quad   1                       /* the sector behind this one */

gdt_register:
        .word   gdt_end - gdt - 1
        .long   gdt
        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff      /* code: all 4 GiB, 32 bits */
        .quad   0x00cf92000000ffff      /* data: the same */
gdt_end:

message:
        .asciz  "hello: cannot read the disk\r\n"

        .org    SECTOR_SIZE - 2
        .word   0xaa55
