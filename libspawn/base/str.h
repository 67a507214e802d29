/*
 * Strings, lists of strings, and a buffer that grows.
 *
 * Allocation failure is reported (NULL or LIBSPAWN_ERR_NO_MEMORY), never an
 * exit.  A buffer remembers that it failed, so a run of appends needs one
 * check at its end.
 */
#ifndef LIBSPAWN_BASE_STR_H
#define LIBSPAWN_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"

/* A new string, or NULL when there is no memory. */
char *libspawn__str_format(const char *format, ...) LIBSPAWN__PRINTF(1, 2);

bool libspawn__str_equal(const char *a, const char *b); /* NULLs are equal */
bool libspawn__str_has_prefix(const char *text, const char *prefix);
bool libspawn__str_has_suffix(const char *text, const char *suffix);

/* Replaces the owned string '*slot' by a copy of 'text' (NULL: none).
 * Untouched on failure. */
int libspawn__str_assign(char **slot, const char *text,
                         struct libspawn_err *err);

/* The whole of 'text' as a decimal number within [min, max]; anything else,
 * also a sign, blanks or an empty string, is LIBSPAWN_ERR_INVALID. */
int libspawn__str_to_u64(const char *text, uint64_t min, uint64_t max,
                         uint64_t *value_r, struct libspawn_err *err);

/* ------------------------------------------------------------------------
 * A list of strings that ends with NULL, as execve takes it.
 */
struct libspawn__strv {
    char **items; /* n_items strings and a NULL; NULL while empty */
    size_t n_items;
    size_t n_allocated;
};

void libspawn__strv_dispose(struct libspawn__strv *list);
int libspawn__strv_add(struct libspawn__strv *list, const char *text,
                       struct libspawn_err *err);
int libspawn__strv_addf(struct libspawn__strv *list, struct libspawn_err *err,
                        const char *format, ...) LIBSPAWN__PRINTF(3, 4);
bool libspawn__strv_has(const struct libspawn__strv *list, const char *text);
void libspawn__strv_sort(struct libspawn__strv *list);

#define AUTO_STRV AUTO(libspawn__strv_dispose)

/* ------------------------------------------------------------------------
 * A growing buffer of bytes, always followed by a NUL that 'size' does not
 * count.
 */
struct libspawn__buf {
    char *data;
    size_t size;
    size_t n_allocated;
    bool failed; /* an append found no memory; the content is incomplete */
};

void libspawn__buf_dispose(struct libspawn__buf *buf);
void libspawn__buf_append(struct libspawn__buf *buf, const void *bytes,
                          size_t size);
void libspawn__buf_puts(struct libspawn__buf *buf, const char *text);
void libspawn__buf_printf(struct libspawn__buf *buf, const char *format, ...)
    LIBSPAWN__PRINTF(2, 3);
void libspawn__buf_vprintf(struct libspawn__buf *buf, const char *format,
                           va_list args) LIBSPAWN__PRINTF(2, 0);

/* Room for at least 'size' more bytes at data + size; false without memory. */
bool libspawn__buf_reserve(struct libspawn__buf *buf, size_t size);

/* Drops the first 'size' bytes. */
void libspawn__buf_consume(struct libspawn__buf *buf, size_t size);

/* The content as a string that the caller frees; NULL when an append failed.
 * The buffer is empty afterwards. */
char *libspawn__buf_take(struct libspawn__buf *buf);

#define AUTO_BUF AUTO(libspawn__buf_dispose)

#endif
