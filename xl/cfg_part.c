#include "xl/cfg_part.h"

#include <string.h>

static const char blanks[] = " \t\n";

void
xl__cfg_part_dispose(struct xl__cfg_part *part)
{
    free(part->name);
    memset(part, 0, sizeof *part);
}

int
xl__cfg_part_next(const char **at, struct xl__cfg_part *part, bool *more_r,
                  struct libspawn_err *err)
{
    size_t len;

    xl__cfg_part_dispose(part);
    *at += strspn(*at, " \t\n,");
    *more_r = **at != '\0';
    if (!*more_r) {
        return 0;
    }
    len = strcspn(*at, ",");
    part->name = strndup(*at, len);
    if (!part->name) {
        return libspawn__fail_nomem(err);
    }
    *at += len;
    while (len && strchr(blanks, part->name[len - 1])) {
        part->name[--len] = '\0';
    }
    part->value = strchr(part->name, '=');
    if (part->value) {
        *part->value++ = '\0';
    }
    return 0;
}
