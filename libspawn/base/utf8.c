#include "base/utf8.h"

#include <string.h>

#include "base/util.h"

/* The length of the one character that 'text' begins with, or 0. */
static size_t
character_length(const unsigned char *text, size_t size)
{
    /* By the first byte; the second is where forms that are not allowed
     * show. */
    static const struct {
        unsigned char first_min, first_max, second_min, second_max, length;
    } forms[] = {
        { 0x00, 0x7f, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
        { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
        { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    size_t form = 0;
    size_t i;

    while (text[0] > forms[form].first_max) {
        if (++form == ARRAY_SIZE(forms)) {
            return 0;
        }
    }
    if (text[0] < forms[form].first_min || forms[form].length > size) {
        return 0;
    }
    for (i = 1; i < forms[form].length; i++) {
        unsigned char min = i == 1 ? forms[form].second_min : 0x80;
        unsigned char max = i == 1 ? forms[form].second_max : 0xbf;

        if (text[i] < min || text[i] > max) {
            return 0;
        }
    }
    return forms[form].length;
}

size_t
libspawn__utf8_prefix(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t done = 0;
    size_t length;

    while (done < size) {
        length = character_length(bytes + done, size - done);
        if (!length) {
            break;
        }
        done += length;
    }
    return done;
}

/* How many bytes from 'text' on are one printable character; 0: none. */
static size_t
printable_size(const char *text, size_t size)
{
    unsigned char first = (unsigned char)text[0];
    size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (first < ' ') {
        return first == '\n' || first == '\t';
    }
    if (first == 0x7f || n > size || libspawn__utf8_prefix(text, n) != n) {
        return 0;
    }
    /* U+0080 to U+009F: control characters, as those below the blank. */
    return first == 0xc2 && (unsigned char)text[1] < 0xa0 ? 0 : n;
}

size_t
libspawn__utf8_copy_printable(char *to, const char *from, size_t size)
{
    size_t n = 0;
    size_t i = 0;

    while (i < size) {
        size_t n_bytes = printable_size(from + i, size - i);

        if (n_bytes) {
            memcpy(to + n, from + i, n_bytes);
        } else {
            to[n] = '?';
            n_bytes = 1;
        }
        n += n_bytes;
        i += n_bytes;
    }
    return n;
}
