#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "guest/pci_table.h"
#include "tests/lib/harness.h"

#define UUID "dc7fc62c-6cdb-4713-836b-9f2472350fd1"

static struct libspawn__pci_record
make_record(uint8_t bus, char *name)
{
    return (struct libspawn__pci_record){ .address = { .bus = bus },
                                          .name = name,
                                          .since_ms = 1795275766085,
                                          .is_kept = true };
}

TEST(pci_table_written_then_read__is_the_same_and_sorted)
{
    AUTO_PCI_TABLE struct libspawn__pci_table table = { .n = 0 };
    AUTO_PCI_TABLE struct libspawn__pci_table back = { .n = 0 };
    char blanks[] = "windows 7 \"old\"";
    char other[] = "b";
    struct libspawn__pci_record two = make_record(2, blanks);
    struct libspawn__pci_record one = make_record(1, other);
    struct libspawn_err err;

    snprintf(two.uuid, sizeof two.uuid, UUID);
    two.created = 1795275766;
    two.is_kept = false;
    assert_ok(libspawn__pci_table_put(&table, &two, &err), &err);
    assert_ok(libspawn__pci_table_put(&table, &one, &err), &err);
    assert_ok(libspawn__pci_table_write(".", &table, &err), &err);
    assert_ok(libspawn__pci_table_read(".", &back, &err), &err);
    ck_assert_uint_eq(back.n, 2);
    ck_assert_uint_eq(back.records[0].address.bus, 1);
    ck_assert_str_eq(back.records[0].name, other);
    ck_assert_str_eq(back.records[0].uuid, "");
    ck_assert(back.records[0].is_kept);
    ck_assert_uint_eq(back.records[1].address.bus, 2);
    ck_assert_str_eq(back.records[1].name, blanks);
    ck_assert_str_eq(back.records[1].uuid, UUID);
    ck_assert_int_eq(back.records[1].created, two.created);
    ck_assert_int_eq(back.records[1].since_ms, two.since_ms);
    ck_assert(!back.records[1].is_kept);
}

TEST(pci_table_put_twice__has_one_record)
{
    AUTO_PCI_TABLE struct libspawn__pci_table table = { .n = 0 };
    char a[] = "a";
    char b[] = "b";
    struct libspawn__pci_record record = make_record(1, a);

    assert_ok(libspawn__pci_table_put(&table, &record, NULL), NULL);
    record.name = b;
    assert_ok(libspawn__pci_table_put(&table, &record, NULL), NULL);
    ck_assert_uint_eq(table.n, 1);
    ck_assert_str_eq(table.records[0].name, b);
    libspawn__pci_table_remove(&table, &table.records[0]);
    ck_assert_uint_eq(table.n, 0);
}

TEST(pci_table_without_records__is_no_file)
{
    AUTO_PCI_TABLE struct libspawn__pci_table table = { .n = 0 };
    char a[] = "a";
    const struct libspawn__pci_record record = make_record(1, a);
    struct libspawn_err err;

    assert_ok(libspawn__pci_table_read(".", &table, &err), &err);
    ck_assert_uint_eq(table.n, 0);
    assert_ok(libspawn__pci_table_put(&table, &record, &err), &err);
    assert_ok(libspawn__pci_table_write(".", &table, &err), &err);
    ck_assert_int_eq(access("pci", F_OK), 0);
    libspawn__pci_table_remove(&table, &table.records[0]);
    assert_ok(libspawn__pci_table_write(".", &table, &err), &err);
    ck_assert_int_ne(access("pci", F_OK), 0);
}

/* What is in it would be taken for free. */
TEST(pci_table_edited_by_hand__is_refused_with_what_is_wrong)
{
#define TABLE(RECORD) "{\"version\":1,\"reservations\":[" RECORD "]}"
    static const struct {
        const char *text;
        const char *words;
    } edits[] = {
        { "", "the table of PCI devices" },
        { "[]", "version 1" },
        { "{\"version\":2,\"reservations\":[]}", "version 1" },
        { "{\"version\":1}", "version 1" },
        { TABLE("1"), "'device'" },
        { TABLE("{\"device\":\"x\"}"), "'device'" },
        { TABLE("{\"device\":\"1:0.0\",\"guest\":\"\"}"), "'guest'" },
        { TABLE("{\"device\":\"1:0.0\",\"guest\":\"a\"}"), "'since_ms'" },
        { TABLE("{\"device\":\"1:0.0\",\"guest\":\"a\",\"since_ms\":1}"),
          "'uuid' is missing" },
        { TABLE("{\"device\":\"1:0.0\",\"guest\":\"a\",\"since_ms\":1,"
                "\"uuid\":\"" UUID "\"}"),
          "'created'" },
        { TABLE("{\"device\":\"1:0.0\",\"guest\":\"a\",\"since_ms\":1,"
                "\"uuid\":\"" UUID "0\",\"created\":1}"),
          "'uuid'" },
        { TABLE("{\"device\":\"1:0.0\",\"guest\":\"a\",\"since_ms\":1,"
                "\"kept\":true},{\"device\":\"01:00.0\",\"guest\":\"b\","
                "\"since_ms\":1,\"kept\":true}"),
          "twice" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(edits); i++) {
        struct libspawn__pci_table table = { .n = 77 };
        struct libspawn_err err = { 0 };

        harness_write_file("pci", edits[i].text);
        ck_assert_msg(libspawn__pci_table_read(".", &table, &err) ==
                          LIBSPAWN_ERR_PROTOCOL,
                      "'%s' is taken for a table", edits[i].text);
        assert_contains(err.text, edits[i].words);
        assert_contains(err.text, "./pci");
        ck_assert_uint_eq(table.n, 77);
    }
}

TEST_MAIN("pci_table")
