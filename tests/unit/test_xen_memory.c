/*
 * How the memory of a Xen guest is divided.
 */
#include "guest/xen/memory.h"
#include "tests/lib/harness.h"

#define HOLE_START UINT64_C(0xf0000000)
#define FOUR_GIB (UINT64_C(1) << 32)
#define MIB UINT64_C(1048576)

static struct libspawn_guest_config config;

static int
plan(enum libspawn_guest_type type, struct libspawn__xen_memory *memory_r,
     struct libspawn_err *err)
{
    return libspawn__xen_memory_plan(&config, type, true, memory_r, err);
}

TEST(memory_of_32_mib__is_what_the_stock_toolstack_gives)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;

    config = (struct libspawn_guest_config){ .memory_mib = 32, .vcpus = 1 };
    assert_ok(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, &err), &err);
    ck_assert_uint_eq(m.max_kib, 32768);
    ck_assert_uint_eq(m.target_kib, 32768);
    ck_assert_uint_eq(m.video_kib, 8192);
    ck_assert_uint_eq(m.balloon_kib, 24576);
    ck_assert_uint_eq(m.limit_kib, 32768 + 1024);
    ck_assert_uint_eq(m.paging_kib, 4 * (256 + 32));
    ck_assert_uint_eq(m.low_end, 24 * MIB);
    ck_assert_uint_eq(m.high_end, 0);
}

TEST(memory_beyond_the_hole__continues_above_4_gib)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;

    config = (struct libspawn_guest_config){ .memory_mib = 8192, .vcpus = 1 };
    assert_ok(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, &err), &err);
    ck_assert_uint_eq(m.low_end, HOLE_START);
    ck_assert_uint_eq(m.high_end - FOUR_GIB, 8184 * MIB - HOLE_START);
}

TEST(memory_exactly_up_to_the_hole__has_nothing_above)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;

    config =
        (struct libspawn_guest_config){ .memory_mib = 3840 + 8, .vcpus = 1 };
    assert_ok(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, &err), &err);
    ck_assert_uint_eq(m.low_end, HOLE_START);
    ck_assert_uint_eq(m.high_end, 0);
}

TEST(memory_below_its_maximum__leaves_room_for_the_balloon)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;

    config = (struct libspawn_guest_config){ .memory_mib = 64,
                                             .max_memory_mib = 128,
                                             .vcpus = 2 };
    assert_ok(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, &err), &err);
    ck_assert_uint_eq(m.max_kib, 128 * 1024);
    ck_assert_uint_eq(m.balloon_kib, (64 - 8) * 1024 - 1024);
    ck_assert_uint_eq(m.paging_kib, 4 * (512 + 128));
}

TEST(memory_of_a_pv_guest__has_no_video_and_no_tables)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;
    char vga[] = "stdvga";

    config = (struct libspawn_guest_config){ .memory_mib = 8192,
                                             .vcpus = 1,
                                             .vga = vga };
    assert_ok(plan(LIBSPAWN_GUEST_TYPE_PV, &m, &err), &err);
    ck_assert_uint_eq(m.video_kib, 0);
    ck_assert_uint_eq(m.paging_kib, 0);
    ck_assert_uint_eq(m.low_end, 8192 * MIB);
}

TEST(memory_for_shadow_tables__is_more_and_can_be_given)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;

    config = (struct libspawn_guest_config){ .memory_mib = 64, .vcpus = 1 };
    assert_ok(libspawn__xen_memory_plan(&config, LIBSPAWN_GUEST_TYPE_HVM,
                                        false, &m, &err),
              &err);
    ck_assert_uint_eq(m.paging_kib, 4 * (256 + 2 * 64));
    config.shadow_memory_mib = 3;
    assert_ok(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, &err), &err);
    ck_assert_uint_eq(m.paging_kib, 3072);
}

TEST(memory_that_the_card_would_use_up__is_refused_with_numbers)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;
    char vga[] = "stdvga";

    config = (struct libspawn_guest_config){ .memory_mib = 17,
                                             .vcpus = 1,
                                             .vga = vga };
    assert_code(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, &err), LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "17 MiB");
    assert_contains(err.text, "16 MiB of video memory");
}

TEST(memory_of_a_card_below_its_least__is_refused)
{
    struct libspawn__xen_memory m;
    struct libspawn_err err;
    char vga[] = "stdvga";

    config = (struct libspawn_guest_config){
        .memory_mib = 64, .vcpus = 1, .vga = vga, .videoram_mib = 8
    };
    assert_code(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, &err), LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "'stdvga' needs 16 MiB");
}

TEST(memory_larger_than_its_maximum__is_refused)
{
    struct libspawn__xen_memory m;

    config = (struct libspawn_guest_config){ .memory_mib = 64,
                                             .max_memory_mib = 32 };
    assert_code(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, NULL), LIBSPAWN_ERR_INVALID);
    config = (struct libspawn_guest_config){ .memory_mib = 0 };
    assert_code(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, NULL), LIBSPAWN_ERR_INVALID);
    config = (struct libspawn_guest_config){ .memory_mib = UINT64_MAX / 1024 };
    assert_code(plan(LIBSPAWN_GUEST_TYPE_HVM, &m, NULL), LIBSPAWN_ERR_INVALID);
}

TEST_MAIN("xen_memory")
