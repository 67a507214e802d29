#include "tools/test-device-model/keyval.h"

#include <string.h>

#include "base/str.h"

/* Appends one part to 'part' and returns where the next one begins: NULL
 * behind the last. */
static const char *
next_part(const char *text, struct libspawn__buf *part)
{
    for (; *text; text++) {
        if (*text == ',' && *++text != ',') {
            return text;
        }
        libspawn__buf_append(part, text, 1);
    }
    return NULL;
}

char *
keyval_get(const char *text, const char *key)
{
    size_t len = strlen(key);

    while (text) {
        AUTO_BUF struct libspawn__buf part = { 0 };

        text = next_part(text, &part);
        if (!part.failed && part.size > len && part.data[len] == '=' &&
            !memcmp(part.data, key, len)) {
            libspawn__buf_consume(&part, len + 1);
            return libspawn__buf_take(&part);
        }
    }
    return NULL;
}

bool
keyval_is(const char *text, const char *key, const char *value)
{
    AUTO_FREE char *found = keyval_get(text, key);

    return found && !strcmp(found, value);
}
