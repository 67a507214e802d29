/*
 * What a child says by sd_notify(3), from any bytes: it is as bounded and as
 * harmless to a terminal as promised.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "proc/notify.h"

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
    struct libspawn__notify notify;
    char shown[sizeof notify.status];
    size_t len;

    libspawn__notify_parse((const char *)data, size, &notify);
    len = strnlen(notify.status, sizeof notify.status);
    must(len < sizeof notify.status);
    must(notify.has_status || !len);
    must(notify.has_extension || !notify.extend_ms);
    memcpy(shown, notify.status, len);
    libspawn__utf8_make_printable(shown, len, "");
    must(!memcmp(shown, notify.status, len));
    return 0;
}
