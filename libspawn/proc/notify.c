#include "proc/notify.h"

#include <string.h>

#include "base/str.h"
#include "base/utf8.h"
#include "base/util.h"

enum {
    US_PER_MS = 1000
};

static void
take_ready(struct libspawn__notify *notify, const char *value)
{
    notify->is_ready = notify->is_ready || !strcmp(value, "1");
}

static void
take_extension(struct libspawn__notify *notify, const char *value)
{
    uint64_t us;

    if (!libspawn__str_to_u64(value, 0, UINT64_MAX, &us, NULL)) {
        uint64_t ms = us / US_PER_MS + (us % US_PER_MS != 0);

        notify->has_extension = true;
        notify->extend_ms = (uint32_t)MIN(ms, UINT32_MAX);
    }
}

/* A character that does not fit is left out as a whole. */
static void
take_status(struct libspawn__notify *notify, const char *value)
{
    size_t size = strlen(value);
    size_t room = sizeof notify->status - 1;

    if (size > room) {
        size = room;
        while (size && ((unsigned char)value[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    notify->has_status = true;
    memcpy(notify->status, value, size);
    notify->status[size] = '\0';
    libspawn__utf8_make_printable(notify->status, size, "");
}

static const struct {
    const char *prefix;
    void (*take)(struct libspawn__notify *notify, const char *value);
} names[] = {
    { "READY=", take_ready },
    { "EXTEND_TIMEOUT_USEC=", take_extension },
    { "STATUS=", take_status },
};

static void
take_line(struct libspawn__notify *notify, const char *line)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        if (libspawn__str_has_prefix(line, names[i].prefix)) {
            names[i].take(notify, line + strlen(names[i].prefix));
        }
    }
}

void
libspawn__notify_parse(const char *bytes, size_t size,
                       struct libspawn__notify *notify_r)
{
    char line[LIBSPAWN__NOTIFY_SIZE_MAX + 1];
    const char *end = bytes + MIN(size, LIBSPAWN__NOTIFY_SIZE_MAX);
    const char *p = bytes;

    memset(notify_r, 0, sizeof *notify_r);
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((newline ? newline : end) - p);

        /* A NUL ends the line, as in a letter that was sent with its own. */
        memcpy(line, p, len);
        line[len] = '\0';
        take_line(notify_r, line);
        p = newline ? newline + 1 : end;
    }
}
