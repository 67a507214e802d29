/*
 * The JSON reader on any bytes.  What it accepts must come out of the writer
 * as text that reads as the same again; and any string must be writable.
 */
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *
write_again(const char *text, size_t size)
{
    AUTO_JSON struct libspawn__json *json = NULL;
    struct libspawn__json_writer *writer;

    if (libspawn__json_parse(text, size, SIZE_MAX, &json, NULL)) {
        return NULL;
    }
    writer = libspawn__json_writer_new(false);
    libspawn__json_put(writer, NULL, json);
    return libspawn__json_writer_take(writer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *once = write_again((const char *)data, size);
    AUTO_FREE char *twice = once ? write_again(once, strlen(once)) : NULL;
    AUTO_FREE char *string = strndup((const char *)data, size);
    struct libspawn__json_writer *writer = libspawn__json_writer_new(true);
    AUTO_FREE char *text = NULL;

    if (once && (!twice || strcmp(once, twice) != 0)) {
        abort();
    }
    libspawn__json_put_string(writer, NULL, string);
    text = libspawn__json_writer_take(writer);
    free(TAKE_PTR(once));
    once = write_again(text, strlen(text));
    if (!once) {
        abort();
    }
    return 0;
}
