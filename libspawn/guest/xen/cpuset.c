#include "guest/xen/cpuset.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* One item of the list. */
struct item {
    bool is_excluded;
    bool is_nodes; /* the numbers are of nodes */
    bool is_all;
    uint32_t first, last;
};

static bool
read_number(const char **text, uint32_t *number_r)
{
    uint32_t number = 0;
    const char *at = *text;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (number > UINT16_MAX) {
            return false;
        }
        number = number * 10 + (uint32_t)(*at - '0');
    }
    if (at == *text) {
        return false;
    }
    *text = at;
    *number_r = number;
    return true;
}

static bool
skip_word(const char **text, const char *word)
{
    if (!libspawn__str_has_prefix(*text, word)) {
        return false;
    }
    *text += strlen(word);
    return true;
}

static bool
read_item(const char **text, struct item *item)
{
    *item = (struct item){ 0 };
    item->is_excluded = skip_word(text, "^");
    item->is_nodes = skip_word(text, "nodes:") || skip_word(text, "node:");
    item->is_all = !item->is_excluded && skip_word(text, "all");
    if (item->is_all) {
        return true;
    }
    if (!read_number(text, &item->first)) {
        return false;
    }
    item->last = item->first;
    return !skip_word(text, "-") ||
           (read_number(text, &item->last) && item->last >= item->first);
}

static void
apply(const struct item *item, const uint32_t *nodes, uint32_t n_cpus,
      bool *cpus)
{
    uint32_t i;

    for (i = 0; i < n_cpus; i++) {
        uint32_t number = item->is_nodes ? nodes[i] : i;

        if (item->is_all || (number >= item->first && number <= item->last)) {
            cpus[i] = !item->is_excluded;
        }
    }
}

static bool
has_any(const bool *cpus, uint32_t n_cpus)
{
    uint32_t i;

    for (i = 0; i < n_cpus; i++) {
        if (cpus[i]) {
            return true;
        }
    }
    return false;
}

int
libspawn__xen_cpuset_parse(const char *text, const uint32_t *nodes,
                           uint32_t n_cpus, bool *cpus,
                           struct libspawn_err *err)
{
    const char *at = text;
    struct item item;

    memset(cpus, 0, n_cpus * sizeof *cpus);
    do {
        if (!read_item(&at, &item)) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "'%s' is not a set of processors", text);
        }
        apply(&item, nodes, n_cpus, cpus);
    } while (skip_word(&at, ","));
    if (*at) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%s' is not a set of processors", text);
    }
    if (!has_any(cpus, n_cpus)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "no processor of this host is in '%s'", text);
    }
    return 0;
}
