/*
 * Sets of processors, as the key "cpus" writes them.
 */
#include <string.h>

#include "base/util.h"
#include "guest/xen/cpuset.h"
#include "tests/lib/harness.h"

enum {
    N_CPUS = 8
};

/* Two nodes, interleaved. */
static const uint32_t nodes[N_CPUS] = { 0, 1, 0, 1, 0, 1, 0, 1 };

static int
parse(const char *text, char flags[static N_CPUS + 1])
{
    bool cpus[N_CPUS];
    int rc = libspawn__xen_cpuset_parse(text, nodes, N_CPUS, cpus, NULL);
    size_t i;

    for (i = 0; i < N_CPUS; i++) {
        flags[i] = cpus[i] ? '1' : '0';
    }
    flags[N_CPUS] = '\0';
    return rc;
}

TEST(cpuset_items__are_applied_in_order)
{
    static const struct {
        const char *text;
        const char *flags;
    } cases[] = {
        { "all", "11111111" },          { "0", "10000000" },
        { "1-3", "01110000" },          { "0-3,^1", "10110000" },
        { "^1,0-3", "11110000" },       { "all,^0-1", "00111111" },
        { "nodes:0", "10101010" },      { "node:1", "01010101" },
        { "all,^nodes:1", "10101010" }, { "nodes:0-1,^7", "11111110" },
        { "6-100", "00000011" },        { "0,2,4", "10101000" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        char flags[N_CPUS + 1];

        assert_ok(parse(cases[i].text, flags), NULL);
        ck_assert_msg(strcmp(flags, cases[i].flags) == 0, "'%s' gives %s",
                      cases[i].text, flags);
    }
}

TEST(cpuset_nonsense__is_refused)
{
    static const char *const texts[] = { "",           ",",   "0,",     "a",
                                         "1-",         "3-1", "-1",     "^",
                                         "^all",       "0 1", "nodes:", "allx",
                                         "99999999999" };
    char flags[N_CPUS + 1];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        ck_assert_msg(parse(texts[i], flags) == LIBSPAWN_ERR_INVALID, "'%s'",
                      texts[i]);
    }
}

TEST(cpuset_without_any_processor_of_the_host__is_refused_by_name)
{
    struct libspawn_err err;
    bool cpus[N_CPUS];

    assert_code(libspawn__xen_cpuset_parse("8-9", nodes, N_CPUS, cpus, &err),
                LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "no processor of this host is in '8-9'");
    assert_code(libspawn__xen_cpuset_parse("0,^0", nodes, N_CPUS, cpus, NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST_MAIN("xen_cpuset")
