/*
 * Is it UTF-8, and can it be shown?  Surrogates, overlong forms and numbers
 * beyond U+10FFFF are not UTF-8.
 *
 * Knowledge: RFC 3629, section 4; the Unicode standard, table 3-7.
 */
#ifndef LIBSPAWN_BASE_UTF8_H
#define LIBSPAWN_BASE_UTF8_H

#include <stddef.h>

/* How many of the 'size' bytes, from the first on, are whole characters:
 * 'size' when all of it is UTF-8. */
size_t libspawn__utf8_prefix(const char *text, size_t size);

/* Replaces in place what a terminal would act on by question marks, one for
 * each byte: control characters, which are those below the blank, DEL, and
 * U+0080 to U+009F, but for those in the string 'kept'; and bytes that are not
 * UTF-8. */
void libspawn__utf8_make_printable(char *text, size_t size, const char *kept);

#endif
