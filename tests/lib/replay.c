/*
 * The main function of a fuzz target that is not built as a fuzzer: feeds it
 * every file named on the command line, or below a folder named there, and
 * the empty input.  A crash or a sanitizer ends it; the name printed last is
 * the input that did it.
 */
#include <errno.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/fd.h"

enum { MAX_INPUT_SIZE = 16 << 20, MAX_OPEN_DIRECTORIES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int n_inputs;

static int
replay(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    AUTO_FREE char *input = NULL;
    struct libspawn_err err;
    size_t size;

    (void)st;
    (void)ftw;
    if (type != FTW_F) {
        return 0;
    }
    puts(path);
    fflush(stdout);
    if (libspawn__file_read(path, MAX_INPUT_SIZE, &input, &size, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)input, size);
    n_inputs++;
    return 0;
}

int
main(int argc, char **argv)
{
    int i;

    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (i = 1; i < argc; i++) {
        if (nftw(argv[i], replay, MAX_OPEN_DIRECTORIES, FTW_PHYS)) {
            fprintf(stderr, "replay of '%s': %s\n", argv[i], strerror(errno));
            return EXIT_FAILURE;
        }
    }
    printf("%s: %u inputs\n", argv[0], n_inputs);
    return EXIT_SUCCESS;
}
