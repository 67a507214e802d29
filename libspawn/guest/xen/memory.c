/*
 * Sources: xl.cfg(5), "videoram" and "shadow_memory"; the sizes that QEMU's
 * cards insist on; xen/include/public/hvm/e820.h for where devices begin.
 */
#include "guest/xen/memory.h"

#include <inttypes.h>

#include "base/str.h"
#include "base/util.h"

#define KIB_PER_MIB UINT64_C(1024)
#define FOUR_GIB (UINT64_C(1) << 32)
#define HOLE_START UINT64_C(0xf0000000) /* HVM_BELOW_4G_MMIO_START */

enum {
    SLACK_KIB = 1024, /* pages that belong to no RAM: special ones, ROMs */
    LEAST_RAM_MIB = 4,
    PAGE_KIB = 4,
    TABLE_PAGES_PER_VCPU = 256,
    MOST_MIB = 16 * 1024 * 1024 /* 16 TiB, the hypervisor's bound */
};

/* The first is the default. */
static const struct {
    const char *vga;
    uint32_t mib;
} cards[] = {
    { "cirrus", 8 },
    { "stdvga", 16 },
    { "qxl", 128 },
    { "none", 0 },
};

uint32_t
libspawn__xen_memory_default_video(const char *vga)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cards); i++) {
        if (libspawn__str_equal(cards[i].vga, vga)) {
            return cards[i].mib;
        }
    }
    return cards[0].mib;
}

static int
plan_video(const struct libspawn_guest_config *config,
           enum libspawn_guest_type type, uint64_t *kib_r,
           struct libspawn_err *err)
{
    uint32_t least = libspawn__xen_memory_default_video(config->vga);
    uint32_t mib = config->videoram_mib ? config->videoram_mib : least;

    if (type != LIBSPAWN_GUEST_TYPE_HVM || least == 0) {
        *kib_r = 0;
        return 0;
    }
    if (mib < least) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "graphics card '%s' needs %" PRIu32
                              " MiB of video memory, not %" PRIu32,
                              config->vga ? config->vga : cards[0].vga, least,
                              mib);
    }
    *kib_r = mib * KIB_PER_MIB;
    return 0;
}

static int
check_sizes(const struct libspawn_guest_config *config, uint64_t max_mib,
            uint64_t video_kib, struct libspawn_err *err)
{
    if (config->memory_mib == 0 || max_mib > MOST_MIB) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%" PRIu64 " MiB of memory is out of range",
                              config->memory_mib ? max_mib : 0);
    }
    if (max_mib < config->memory_mib) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "memory (%" PRIu64 " MiB) is larger than "
                              "maximum memory (%" PRIu64 " MiB)",
                              config->memory_mib, max_mib);
    }
    if (config->memory_mib * KIB_PER_MIB <
        video_kib + LEAST_RAM_MIB * KIB_PER_MIB) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%" PRIu64
                              " MiB of memory leaves nothing beside "
                              "the %" PRIu64 " MiB of video memory",
                              config->memory_mib, video_kib / KIB_PER_MIB);
    }
    return 0;
}

/* One page of tables per MiB of RAM, as many again for shadow tables, and a
 * MiB per processor: more than the least that works, for speed.  A PV guest
 * keeps its tables in its own memory. */
static uint64_t
paging_kib(const struct libspawn_guest_config *config,
           enum libspawn_guest_type type, bool hap, uint64_t max_kib)
{
    uint32_t vcpus = MAX(config->max_vcpus, config->vcpus);
    unsigned int pages_per_mib = hap ? 1 : 2;

    if (type == LIBSPAWN_GUEST_TYPE_PV) {
        return 0;
    }
    if (config->shadow_memory_mib) {
        return config->shadow_memory_mib * KIB_PER_MIB;
    }
    return PAGE_KIB * (TABLE_PAGES_PER_VCPU * (uint64_t)MAX(vcpus, 1) +
                       pages_per_mib * (max_kib / KIB_PER_MIB));
}

int
libspawn__xen_memory_plan(const struct libspawn_guest_config *config,
                          enum libspawn_guest_type type, bool hap,
                          struct libspawn__xen_memory *memory_r,
                          struct libspawn_err *err)
{
    uint64_t max_mib = config->max_memory_mib ? config->max_memory_mib
                                              : config->memory_mib;
    struct libspawn__xen_memory m = { .max_kib = max_mib * KIB_PER_MIB };
    bool has_hole = type == LIBSPAWN_GUEST_TYPE_HVM;
    uint64_t ram;
    int rc;

    rc = plan_video(config, type, &m.video_kib, err);
    if (!rc) {
        rc = check_sizes(config, max_mib, m.video_kib, err);
    }
    if (rc) {
        return rc;
    }
    m.target_kib = config->memory_mib * KIB_PER_MIB;
    m.limit_kib = m.target_kib + SLACK_KIB;
    m.balloon_kib = m.target_kib - m.video_kib;
    if (has_hole && m.max_kib > m.target_kib) {
        m.balloon_kib -= SLACK_KIB;
    }
    m.paging_kib = paging_kib(config, type, hap, m.max_kib);
    m.needed_kib = m.target_kib + SLACK_KIB + m.paging_kib;
    ram = (m.max_kib - m.video_kib) * 1024;
    m.low_end = ram;
    if (has_hole && ram > HOLE_START) {
        m.low_end = HOLE_START;
        m.high_end = FOUR_GIB + (ram - HOLE_START);
    }
    *memory_r = m;
    return 0;
}
