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

/* Copies 'size' bytes, which may be anything, to as much room: what comes out
 * a terminal shows, and does nothing else but new lines and tabs.  Other
 * control characters and what is not UTF-8 become '?'.  Returns the size. */
size_t libspawn__utf8_copy_printable(char *to, const char *from, size_t size);

#endif
