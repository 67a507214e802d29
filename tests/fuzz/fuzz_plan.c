/*
 * The packed form of a plan, as spawn-watcher reads it, from any bytes.  What
 * is accepted must pack again, to something that is accepted and the same.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "proc/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* The packed form as bytes. */
static char *
pack(const struct libspawn_plan *plan, size_t *size_r)
{
    struct stat st;
    AUTO_FD int memfd = -1;
    char *bytes;

    must(!libspawn__plan_pack(plan, &memfd, NULL));
    must(!fstat(memfd, &st));
    bytes = malloc((size_t)st.st_size);
    must(bytes && pread(memfd, bytes, (size_t)st.st_size, 0) == st.st_size);
    *size_r = (size_t)st.st_size;
    return bytes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_PLAN struct libspawn_plan plan;
    AUTO_PLAN struct libspawn_plan copy;
    AUTO_FREE char *first = NULL;
    AUTO_FREE char *second = NULL;
    struct libspawn_err err = { 0 };
    size_t first_size;
    size_t second_size;

    libspawn__plan_init(&plan);
    libspawn__plan_init(&copy);
    if (libspawn__plan_unpack_bytes(data, size, &plan, &err)) {
        must(err.code == LIBSPAWN_ERR_PROTOCOL && *err.text);
        return 0;
    }
    libspawn__plan_check(&plan, &err);
    first = pack(&plan, &first_size);
    must(!libspawn__plan_unpack_bytes(first, first_size, &copy, &err));
    second = pack(&copy, &second_size);
    must(first_size == second_size && !memcmp(first, second, first_size));
    return 0;
}
