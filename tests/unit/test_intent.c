#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/intent.h"
#include "store/paths.h"
#include "tests/lib/harness.h"

#define UUID "dc7fc62c-6cdb-4713-836b-9f2472350fd1"
#define BOOT_ID "1f745701-b06c-494e-8599-7cb9a6580050"

static void
open_store(struct libspawn_host *host)
{
    struct libspawn_err err;

    assert_ok(libspawn__store_open("dir:store", &host->store, &err), &err);
}

TEST(intent_written_then_read__is_the_same_also_a_name_with_blanks)
{
    struct libspawn_host host = { 0 };
    char name[] = "windows 7 (old)";
    const struct libspawn__intent intent = {
        .uuid = UUID,
        .name = name,
        .owner = { BOOT_ID, 8239, 18446744073709551615u },
        .domid = 4294967295u,
    };
    AUTO_INTENT struct libspawn__intent back = { 0 };
    struct libspawn_err err;

    open_store(&host);
    assert_ok(libspawn__intent_write(&host, &intent, &err), &err);
    assert_ok(libspawn__intent_read(&host, LIBSPAWN__INTENT_CREATE, UUID,
                                    &back, &err),
              &err);
    ck_assert_str_eq(back.uuid, UUID);
    ck_assert_str_eq(back.name, name);
    ck_assert_int_eq(back.owner.pid, intent.owner.pid);
    ck_assert_uint_eq(back.owner.start_time, intent.owner.start_time);
    ck_assert_str_eq(back.owner.boot_id, BOOT_ID);
    ck_assert_uint_eq(back.domid, intent.domid);
    libspawn__store_close(host.store);
}

TEST(intent_missing__is_not_found)
{
    struct libspawn_host host = { 0 };
    struct libspawn__intent intent = { 0 };

    open_store(&host);
    assert_code(libspawn__intent_read(&host, LIBSPAWN__INTENT_CREATE, UUID,
                                      &intent, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    libspawn__store_close(host.store);
}

/* What it names would be ended and removed. */
TEST(intent_edited_by_hand__is_refused_with_what_is_wrong_and_where)
{
    static const struct {
        const char *text;
        const char *words;
    } edits[] = {
        { "", "first word" },
        { "12x 1 " BOOT_ID " 1 name", "first word" },
        { "-1 1 " BOOT_ID " 1 name", "first word" },
        { "0 1 " BOOT_ID " 1 name", "first word" },
        { "4294967297 1 " BOOT_ID " 1 name", "first word" },
        { " 1 1 " BOOT_ID " 1 name", "first word" },
        { "1 -1 " BOOT_ID " 1 name", "second word" },
        { "1 18446744073709551616 " BOOT_ID " 1 name", "second word" },
        { "1 1 boot 1 name", "third word" },
        { "1 1  " BOOT_ID " 1 name", "third word" },
        { "1 1 " BOOT_ID "0 1 name", "third word" },
        { "1 1 " BOOT_ID " 4294967296 name", "fourth word" },
        { "1 1 " BOOT_ID " -1 name", "fourth word" },
        { "1 1 " BOOT_ID " 1x name", "fourth word" },
        { "1 1 " BOOT_ID " 1", "no name" },
        { "1 1 " BOOT_ID " 1 ", "no name" },
        { "1 1 " BOOT_ID " 1 name\n", "more than a name" },
    };
    struct libspawn_host host = { 0 };
    size_t i;

    open_store(&host);
    for (i = 0; i < ARRAY_SIZE(edits); i++) {
        struct libspawn__intent intent = { .domid = 77 };
        struct libspawn_err err = { 0 };

        assert_ok(libspawn__store_puts(host.store, NULL,
                                       LIBSPAWN__PATH_CREATIONS "/" UUID,
                                       edits[i].text, &err),
                  &err);
        ck_assert_msg(libspawn__intent_read(&host, LIBSPAWN__INTENT_CREATE,
                                            UUID, &intent,
                                            &err) == LIBSPAWN_ERR_PROTOCOL,
                      "'%s' is taken for an intent", edits[i].text);
        assert_contains(err.text, edits[i].words);
        assert_contains(err.text, LIBSPAWN__PATH_CREATIONS "/" UUID);
        ck_assert_uint_eq(intent.domid, 77);
        ck_assert(!intent.name);
    }
    libspawn__store_close(host.store);
}

TEST_MAIN("intent")
