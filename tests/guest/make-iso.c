/*
 * make-iso: writes a CD image that holds nothing but something to boot.
 *
 *     make-iso DISK ISO
 *
 * The BIOS reads the first sectors of DISK, boot sector and kernel, and jumps
 * to them (El Torito, no emulation).  The file system is the smallest that
 * ISO 9660 allows: an empty root directory.
 *
 * Knowledge: ECMA-119, chapters 6 to 9; El Torito Bootable CD-ROM Format
 * Specification 1.0, chapter 2.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

enum { BLOCK_SIZE = 2048 };

/* What lies in which block; the first sixteen are nobody's. */
enum {
    PRIMARY_DESCRIPTOR = 16,
    BOOT_RECORD,
    LAST_DESCRIPTOR,
    PATH_TABLE_LITTLE,
    PATH_TABLE_BIG,
    ROOT_DIRECTORY,
    BOOT_CATALOG,
    BOOT_IMAGE,
    BOOT_SECTORS = 1 + KERNEL_SECTORS,
    N_BLOCKS = BOOT_IMAGE + (BOOT_SECTORS * SECTOR_SIZE - 1) / BLOCK_SIZE + 1
};

enum { DIRECTORY_RECORD_SIZE = 34, PATH_TABLE_SIZE = 10 };

static uint8_t blocks[N_BLOCKS][BLOCK_SIZE];

/* ---- Numbers and texts as the format has them --------------------------- */

static void
put_little(uint8_t *at, uint32_t value, int size)
{
    int i;

    for (i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

static void
put_big(uint8_t *at, uint32_t value, int size)
{
    int i;

    for (i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> 8 * (size - 1 - i));
    }
}

/* In both orders, one behind the other. */
static void
put_both(uint8_t *at, uint32_t value, int size)
{
    put_little(at, value, size);
    put_big(at + size, value, size);
}

/* Padded with blanks. */
static void
put_text(uint8_t *at, const char *text, size_t size)
{
    memset(at, ' ', size);
    memcpy(at, text, strlen(text));
}

/* ---- The file system ---------------------------------------------------- */

/* Of the root itself: name 0 is ".", 1 is "..". */
static void
put_directory_record(uint8_t *at, uint8_t name)
{
    enum { IS_DIRECTORY = 2 };

    at[0] = DIRECTORY_RECORD_SIZE;
    put_both(at + 2, ROOT_DIRECTORY, 4);
    put_both(at + 10, BLOCK_SIZE, 4);
    at[18] = 70; /* 1 January 1970: the same image from every build */
    at[19] = 1;
    at[20] = 1;
    at[25] = IS_DIRECTORY;
    put_both(at + 28, 1, 2); /* volume */
    at[32] = 1;              /* length of the name */
    at[33] = name;
}

static void
put_descriptor(uint8_t *at, uint8_t type)
{
    at[0] = type;
    put_text(at + 1, "CD001", 5);
    at[6] = 1;
}

static void
put_date(uint8_t *at, const char *digits)
{
    put_text(at, digits, 16);
    at[16] = 0; /* offset from Greenwich */
}

static void
put_primary_descriptor(uint8_t *at)
{
    put_descriptor(at, 1);
    put_text(at + 8, "", 32);
    put_text(at + 40, "HELLO", 32);
    put_both(at + 80, N_BLOCKS, 4);
    put_both(at + 120, 1, 2); /* volumes in the set */
    put_both(at + 124, 1, 2); /* this one */
    put_both(at + 128, BLOCK_SIZE, 2);
    put_both(at + 132, PATH_TABLE_SIZE, 4);
    put_little(at + 140, PATH_TABLE_LITTLE, 4);
    put_big(at + 148, PATH_TABLE_BIG, 4);
    put_directory_record(at + 156, 0);
    put_text(at + 190, "", 813 - 190); /* names of people and of files */
    put_date(at + 813, "1970010100000000");
    put_date(at + 830, "1970010100000000");
    put_date(at + 847, "0000000000000000");
    put_date(at + 864, "0000000000000000");
    at[881] = 1; /* version of the structure */
}

static void
put_file_system(void)
{
    uint8_t *little = blocks[PATH_TABLE_LITTLE];
    uint8_t *big = blocks[PATH_TABLE_BIG];

    put_primary_descriptor(blocks[PRIMARY_DESCRIPTOR]);
    put_descriptor(blocks[LAST_DESCRIPTOR], 255);
    little[0] = big[0] = 1; /* length of the name, which is 0 */
    put_little(little + 2, ROOT_DIRECTORY, 4);
    put_little(little + 6, 1, 2); /* its parent: itself */
    put_big(big + 2, ROOT_DIRECTORY, 4);
    put_big(big + 6, 1, 2);
    put_directory_record(blocks[ROOT_DIRECTORY], 0);
    put_directory_record(blocks[ROOT_DIRECTORY] + DIRECTORY_RECORD_SIZE, 1);
}

/* ---- What the BIOS looks at --------------------------------------------- */

static void
put_boot_record(uint8_t *at)
{
    static const char name[] = "EL TORITO SPECIFICATION";

    put_descriptor(at, 0);
    memcpy(at + 7, name, sizeof name);
    put_little(at + 71, BOOT_CATALOG, 4);
}

static void
put_boot_catalog(uint8_t *at)
{
    uint32_t sum = 0;
    int i;

    at[0] = 1; /* the validation entry, for the 80x86 */
    at[30] = 0x55;
    at[31] = 0xaa;
    for (i = 0; i < 32; i += 2) {
        sum += at[i] | (uint32_t)at[i + 1] << 8;
    }
    put_little(at + 28, 0x10000 - sum, 2); /* all words add up to 0 */
    at[32] = 0x88; /* the initial entry: to boot; no emulation, at 07c0:0000 */
    put_little(at + 38, BOOT_SECTORS, 2);
    put_little(at + 40, BOOT_IMAGE, 4);
}

/* ---- The whole ---------------------------------------------------------- */

static void
fail(const char *path)
{
    perror(path);
    exit(1);
}

int
main(int argc, char **argv)
{
    FILE *file;

    if (argc != 3) {
        fprintf(stderr, "usage: make-iso DISK ISO\n");
        return 2;
    }
    file = fopen(argv[1], "rbe");
    if (!file || fread(blocks[BOOT_IMAGE], SECTOR_SIZE, BOOT_SECTORS, file) !=
                     BOOT_SECTORS) {
        fail(argv[1]);
    }
    fclose(file);

    put_file_system();
    put_boot_record(blocks[BOOT_RECORD]);
    put_boot_catalog(blocks[BOOT_CATALOG]);

    file = fopen(argv[2], "wbe");
    if (!file || fwrite(blocks, BLOCK_SIZE, N_BLOCKS, file) != N_BLOCKS ||
        fclose(file)) {
        fail(argv[2]);
    }
    return 0;
}
