#include "base/utf8.h"

#include <stdbool.h>
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

/* The length of the printable character that 'text' begins with, or 0. */
static size_t
printable_length(const unsigned char *text, size_t size)
{
    bool is_control = text[0] < ' ' || text[0] == 0x7f ||
                      (text[0] == 0xc2 && size > 1 && text[1] < 0xa0);

    return is_control ? 0 : character_length(text, size);
}

void
libspawn__utf8_make_printable(char *text, size_t size, const char *kept)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t i = 0;

    while (i < size) {
        size_t length = printable_length(bytes + i, size - i);

        if (!length) {
            length = 1;
            if (!text[i] || !strchr(kept, text[i])) {
                text[i] = '?';
            }
        }
        i += length;
    }
}
