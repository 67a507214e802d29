/*
 * The record of a process from any bytes, since anybody with the right to the
 * store may have written it.
 */
#include <stdlib.h>
#include <string.h>

#include "proc/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct libspawn__record record;
    struct libspawn_err err = { 0 };

    if (libspawn__record_parse((const char *)data, size, &record, &err)) {
        must(err.code == LIBSPAWN_ERR_PROTOCOL && *err.text);
        return 0;
    }
    /* A number that kill(2) would take for more than one process. */
    must(record.child.pid > 0);
    must(record.watcher.pid >= 0 && record.caller.pid >= 0);
    must(strlen(record.child.boot_id) == LIBSPAWN__BOOT_ID_SIZE - 1);
    must(record.started_at_ms >= 0 && record.ended_at_ms >= 0);
    return 0;
}
