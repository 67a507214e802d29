/*
 * What is remembered of device models: for the very file that was asked, and
 * for nothing that only looks like it.
 */
#include "dm/probe_cache.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "proc/lock.h"
#include "tests/lib/harness.h"

#define CACHE "cache/device-models"

static const struct libspawn__dm_support everything = {
    .features = LIBSPAWN__DM_SANDBOX | LIBSPAWN__DM_RUN_WITH_USER,
    .version = "9.1.0",
};

/* A program in this test's directory, and which file it is. */
static struct libspawn__dm_identity
make_program(const char *name, const char *text)
{
    struct libspawn__dm_identity id;
    struct libspawn_err err;

    harness_write_file(name, text);
    assert_ok(libspawn__dm_identify(name, &id, &err), &err);
    return id;
}

static void
store(const struct libspawn__dm_identity *id, unsigned int lifetime_s)
{
    struct libspawn_err err;

    assert_ok(
        libspawn__probe_cache_store(".", id, &everything, lifetime_s, &err),
        &err);
}

static bool
is_known(const struct libspawn__dm_identity *id)
{
    struct libspawn__dm_support support = { 0 };
    bool ok = libspawn__probe_cache_find(".", id, &support);

    if (ok) {
        ck_assert_uint_eq(support.features, everything.features);
        ck_assert_str_eq(support.version, everything.version);
    }
    return ok;
}

TEST(cache_entry__is_found_again)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");

    ck_assert(!is_known(&id));
    store(&id, 0);
    ck_assert(is_known(&id));
}

TEST(cache_without_features_or_version__is_found_again)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");
    const struct libspawn__dm_support nothing = { 0 };
    struct libspawn__dm_support support = everything;
    struct libspawn_err err;

    assert_ok(libspawn__probe_cache_store(".", &id, &nothing, 0, &err), &err);
    ck_assert(libspawn__probe_cache_find(".", &id, &support));
    ck_assert_uint_eq(support.features, 0);
    ck_assert_str_eq(support.version, "");
}

TEST(cache_program_changed__is_asked_again)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");
    struct libspawn__dm_identity changed;
    uint64_t *const members[] = { &changed.device, &changed.inode,
                                  &changed.size, &changed.mtime_ns,
                                  &changed.ctime_ns };
    size_t i;

    store(&id, 0);
    for (i = 0; i < ARRAY_SIZE(members); i++) {
        changed = id;
        ++*members[i];
        ck_assert(!is_known(&changed));
    }
}

TEST(cache_program_replaced__has_another_identity)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");
    struct libspawn__dm_identity next = make_program("next", "one");

    store(&id, 0);
    ck_assert_int_eq(rename("next", "qemu"), 0);
    assert_ok(libspawn__dm_identify("qemu", &next, NULL), NULL);
    ck_assert(!is_known(&next));
}

TEST(cache_entry_with_a_lifetime__is_kept_for_now)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");

    store(&id, 60);
    ck_assert(is_known(&id));
}

static void
write_entry(const struct libspawn__dm_identity *id, const char *header,
            const char *rest)
{
    AUTO_FREE char *text = libspawn__str_format(
        "%s%llu %llu %llu %llu %llu %s", header,
        (unsigned long long)id->device, (unsigned long long)id->inode,
        (unsigned long long)id->size, (unsigned long long)id->mtime_ns,
        (unsigned long long)id->ctime_ns, rest);

    harness_write_file(CACHE, text);
}

#define GOOD_HEADER "device-models 1\n"
#define GOOD_REST "0 sandbox,run-with-user 9.1.0\n"

/* The format itself: what the others below spoil. */
TEST(cache_as_documented__is_read)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");

    ck_assert_int_eq(mkdir("cache", 0700), 0);
    write_entry(&id, GOOD_HEADER, GOOD_REST);
    ck_assert(is_known(&id));
}

TEST(cache_entry_expired__is_asked_again)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");

    ck_assert_int_eq(mkdir("cache", 0700), 0);
    write_entry(&id, GOOD_HEADER, "1000000000 sandbox 9.1.0\n");
    ck_assert(!is_known(&id));
    /* From a clock that was set back since. */
    write_entry(&id, GOOD_HEADER, "9000000000 sandbox 9.1.0\n");
    ck_assert(!is_known(&id));
}

TEST(cache_damaged__is_empty_and_then_written_anew)
{
    static const char *const headers[] = { "", "device-models 2\n",
                                           "device-models 1" };
    static const char *const rests[] = {
        "",
        "\n",
        "0 sandbox 9.1.0", /* cut off, maybe within the version */
        "0 sandbox\n",
        "0 sandbox 9.1.0 more\n",
        "0 telepathy 9.1.0\n",
        "-1 sandbox 9.1.0\n",
        "0 sandbox 9.1.000000000000000000000000000000000000\n",
        GOOD_REST "rubbish\n",
    };
    struct libspawn__dm_identity id = make_program("qemu", "one");
    size_t i;

    ck_assert_int_eq(mkdir("cache", 0700), 0);
    for (i = 0; i < ARRAY_SIZE(headers); i++) {
        write_entry(&id, headers[i], GOOD_REST);
        ck_assert(!is_known(&id));
    }
    for (i = 0; i < ARRAY_SIZE(rests); i++) {
        write_entry(&id, GOOD_HEADER, rests[i]);
        ck_assert(!is_known(&id));
    }
    store(&id, 0);
    ck_assert(is_known(&id));
}

TEST(cache_of_many_programs__keeps_the_newest)
{
    enum {
        N_PROGRAMS = 40,
        N_KEPT = 16
    };

    struct libspawn__dm_identity id = make_program("qemu", "one");
    uint64_t first = id.inode;
    unsigned int i;

    for (i = 0; i < N_PROGRAMS; i++) {
        id.inode = first + i;
        store(&id, 0);
        store(&id, 0);
    }
    for (i = 0; i < N_PROGRAMS; i++) {
        id.inode = first + i;
        ck_assert_int_eq(is_known(&id), i >= N_PROGRAMS - N_KEPT);
    }
}

/* Sixteen entries as long as they can be must still be read. */
TEST(cache_of_the_longest_entries__is_read)
{
    struct libspawn__dm_identity id = { UINT64_MAX, 0, UINT64_MAX, UINT64_MAX,
                                        UINT64_MAX };
    struct libspawn__dm_support support = { .features = (1U << 6) - 1 };
    unsigned int i;

    memset(support.version, '9', sizeof support.version - 1);
    for (i = 0; i < 16; i++) {
        id.inode = UINT64_MAX - i;
        assert_ok(libspawn__probe_cache_store(".", &id, &support, 3600, NULL),
                  NULL);
    }
    id.inode = UINT64_MAX;
    ck_assert(libspawn__probe_cache_find(".", &id, &support));
}

TEST(cache_another_process_writes__nobody_waits)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;

    ck_assert_int_eq(mkdir("cache", 0700), 0);
    assert_ok(libspawn__lock_try(
                  &(struct libspawn__lock_request){ .path = CACHE ".new",
                                                    .name = "the cache" },
                  &lock, NULL),
              NULL);
    assert_code(libspawn__probe_cache_store(".", &id, &everything, 0, NULL),
                LIBSPAWN_ERR_BUSY);
}

TEST(cache_writer_was_killed__the_next_one_writes)
{
    struct libspawn__dm_identity id = make_program("qemu", "one");

    ck_assert_int_eq(mkdir("cache", 0700), 0);
    harness_write_file(CACHE ".new", "device-models 1\n1 2 3 half of a very "
                                     "long line that nobody will ever see");
    store(&id, 0);
    ck_assert(is_known(&id));
    ck_assert_int_ne(access(CACHE ".new", F_OK), 0);
}

TEST_MAIN("probe_cache")
