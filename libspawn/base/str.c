#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

char *
libspawn__str_format(const char *format, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, format);
    len = vasprintf(&text, format, args);
    va_end(args);
    return len < 0 ? NULL : text;
}

bool
libspawn__str_equal(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

bool
libspawn__str_has_prefix(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

bool
libspawn__str_has_suffix(const char *text, const char *suffix)
{
    size_t text_len = strlen(text);
    size_t suffix_len = strlen(suffix);

    return text_len >= suffix_len &&
           !strcmp(text + text_len - suffix_len, suffix);
}

int
libspawn__str_assign(char **slot, const char *text, struct libspawn_err *err)
{
    char *copy = NULL;

    if (text) {
        copy = strdup(text);
        if (!copy) {
            return libspawn__fail_nomem(err);
        }
    }
    free(*slot);
    *slot = copy;
    return 0;
}

int
libspawn__str_to_u64(const char *text, uint64_t min, uint64_t max,
                     uint64_t *value_r, struct libspawn_err *err)
{
    unsigned long long value;
    char *end;

    /* strtoull accepts blanks and signs; a number here has neither. */
    if (!text || text[0] < '0' || text[0] > '9') {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%.40s' is not a number", text ? text : "");
    }
    errno = 0;
    value = strtoull(text, &end, 10);
    if (*end) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%.40s' is not a number", text);
    }
    if (errno || value < min || value > max) {
        return libspawn__fail(
            err, LIBSPAWN_ERR_INVALID, "%.40s is not within %llu and %llu",
            text, (unsigned long long)min, (unsigned long long)max);
    }
    *value_r = value;
    return 0;
}

/* ---- Lists of strings -------------------------------------------------- */

void
libspawn__strv_dispose(struct libspawn__strv *list)
{
    size_t i;

    for (i = 0; i < list->n_items; i++) {
        free(list->items[i]);
    }
    free(list->items);
    memset(list, 0, sizeof *list);
}

/* Takes 'text' in every case. */
static int
strv_add_consume(struct libspawn__strv *list, char *text,
                 struct libspawn_err *err)
{
    size_t n_wanted = list->n_items + 2; /* the new one and the NULL */
    char **items;

    if (!text) {
        return libspawn__fail_nomem(err);
    }
    if (n_wanted > list->n_allocated) {
        n_wanted = MAX(n_wanted, list->n_allocated * 2);
        items = reallocarray(list->items, n_wanted, sizeof *items);
        if (!items) {
            free(text);
            return libspawn__fail_nomem(err);
        }
        list->items = items;
        list->n_allocated = n_wanted;
    }
    list->items[list->n_items++] = text;
    list->items[list->n_items] = NULL;
    return 0;
}

int
libspawn__strv_add(struct libspawn__strv *list, const char *text,
                   struct libspawn_err *err)
{
    return strv_add_consume(list, strdup(text), err);
}

int
libspawn__strv_addf(struct libspawn__strv *list, struct libspawn_err *err,
                    const char *format, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, format);
    len = vasprintf(&text, format, args);
    va_end(args);
    return strv_add_consume(list, len < 0 ? NULL : text, err);
}

bool
libspawn__strv_has(const struct libspawn__strv *list, const char *text)
{
    size_t i;

    for (i = 0; i < list->n_items; i++) {
        if (!strcmp(list->items[i], text)) {
            return true;
        }
    }
    return false;
}

static int
compare_items(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void
libspawn__strv_sort(struct libspawn__strv *list)
{
    if (list->n_items) {
        qsort(list->items, list->n_items, sizeof *list->items, compare_items);
    }
}

/* ---- Buffers ----------------------------------------------------------- */

void
libspawn__buf_dispose(struct libspawn__buf *buf)
{
    free(buf->data);
    memset(buf, 0, sizeof *buf);
}

bool
libspawn__buf_reserve(struct libspawn__buf *buf, size_t size)
{
    size_t n_wanted;
    char *data;

    if (buf->failed || size > SIZE_MAX - buf->size - 1) {
        buf->failed = true;
        return false;
    }
    n_wanted = buf->size + size + 1;
    if (n_wanted > buf->n_allocated) {
        n_wanted = MAX(n_wanted, buf->n_allocated * 2);
        data = realloc(buf->data, n_wanted);
        if (!data) {
            buf->failed = true;
            return false;
        }
        buf->data = data;
        buf->n_allocated = n_wanted;
    }
    return true;
}

void
libspawn__buf_append(struct libspawn__buf *buf, const void *bytes, size_t size)
{
    if (!libspawn__buf_reserve(buf, size)) {
        return;
    }
    if (size) {
        memcpy(buf->data + buf->size, bytes, size);
    }
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void
libspawn__buf_puts(struct libspawn__buf *buf, const char *text)
{
    libspawn__buf_append(buf, text, strlen(text));
}

void
libspawn__buf_vprintf(struct libspawn__buf *buf, const char *format,
                      va_list args)
{
    AUTO_FREE char *text = NULL;
    int len;

    len = vasprintf(&text, format, args);
    if (len < 0) {
        text = NULL;
        buf->failed = true;
        return;
    }
    libspawn__buf_append(buf, text, (size_t)len);
}

void
libspawn__buf_printf(struct libspawn__buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    libspawn__buf_vprintf(buf, format, args);
    va_end(args);
}

void
libspawn__buf_consume(struct libspawn__buf *buf, size_t size)
{
    if (!size) {
        return;
    }
    buf->size -= size;
    memmove(buf->data, buf->data + size, buf->size + 1);
}

char *
libspawn__buf_take(struct libspawn__buf *buf)
{
    char *text;

    if (!libspawn__buf_reserve(buf, 0)) {
        libspawn__buf_dispose(buf);
        return NULL;
    }
    buf->data[buf->size] = '\0';
    text = TAKE_PTR(buf->data);
    libspawn__buf_dispose(buf);
    return text;
}
