/*
 * The first bytes of the kernel: the multiboot header, and the way from there
 * into C; and the handler of interrupts.
 *
 * A loader comes here in protected mode with its magic number in EAX and the
 * address of its information in EBX; interrupts are off.
 */
#include "tests/guest/layout.h"

#define STACK_SIZE 4096

        .section .start, "ax"
        .long   MULTIBOOT_HEADER_MAGIC
        .long   MULTIBOOT_HEADER_FLAGS
        .long   -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_HEADER_FLAGS)
        .long   start                   /* for boot.S, which reads no ELF */

        .globl  start
start:
        movl    $stack_end, %esp
        cld
        movl    $bss_begin, %edi        /* a flat binary comes without it */
        movl    $bss_end, %ecx
        subl    %edi, %ecx
        movl    %eax, %edx
        xorl    %eax, %eax
        rep stosb

        lgdt    gdt_register            /* multiboot promises no table */
        ljmp    $CODE_SELECTOR, $1f
1:      movw    $DATA_SELECTOR, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss

        pushl   %ebx
        pushl   %edx
        call    hello                   /* does not come back */

/* Every interrupt ends here, and with it the HLT that it came in. */
        .text
        .globl  wake_up
wake_up:
        pushl   %eax
        movb    $PIC_END_OF_INTERRUPT, %al
        outb    %al, $PIC2_PORT         /* no harm if it was not its turn */
        outb    %al, $PIC1_PORT
        popl    %eax
        iret

        .section .rodata
gdt_register:
        .word   gdt_end - gdt - 1
        .long   gdt
        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff      /* code: all 4 GiB, 32 bits */
        .quad   0x00cf92000000ffff      /* data: the same */
gdt_end:

        .section .bss
        .balign 16
        .skip   STACK_SIZE
stack_end:

        .section .note.GNU-stack, "", @progbits
