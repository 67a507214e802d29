/*
 * Sources: xenguest.h; xen/include/public/hvm/e820.h and hvm_info_table.h;
 * libxenguest's own order of calls.
 */
#include "guest/xen/image.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include <xenforeignmemory.h>
#include <xenguest.h>
#include <xen/hvm/e820.h>
#include <xen/hvm/hvm_info_table.h>

#include "base/fd.h"
#include "base/util.h"
#include "guest/xen/firmware.h"

enum {
    VGA_HOLE_PAGES = 0x20,
    FIRMWARE_BYTES_MAX = 16 * 1024 * 1024,
    E820_RAM_TYPE = 1
};

#define LOW_RAM_START UINT64_C(0x100000) /* below it hvmloader decides */
#define HIGH_RAM_START (UINT64_C(1) << 32)

struct image {
    struct xc_dom_image *dom;
    char *firmware;
    struct e820entry map[2];
};

static void
image_dispose(struct image *image)
{
    if (image->dom) {
        xc_dom_release(image->dom);
    }
    free(image->firmware);
}

/* The libraries give errors as their own numbers, with errno set by chance,
 * so what they said is all that is known. */
static int
check(struct libspawn__xen *xen, int r, const char *what,
      struct libspawn_err *err)
{
    return r ? libspawn__xen_fail(xen, err, 0, "%s", what) : 0;
}

static int
load_files(struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
           struct image *image, struct libspawn_err *err)
{
    AUTO_FREE char *loader = NULL;
    AUTO_FREE char *path = NULL;
    size_t size;
    int rc;

    rc = libspawn__xen_firmware_find_loader(xen, "hvmloader", &loader, err);
    if (!rc) {
        rc = libspawn__xen_firmware_find(guest->config->firmware, &path, err);
    }
    if (!rc) {
        rc = libspawn__file_read(path, FIRMWARE_BYTES_MAX, &image->firmware,
                                 &size, err);
    }
    if (rc) {
        return rc;
    }
    if (size == 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "firmware '%s' is empty", path);
    }
    image->dom->system_firmware_module.data = (uint8_t *)image->firmware;
    image->dom->system_firmware_module.length = (uint32_t)size;
    return check(xen, xc_dom_kernel_file(image->dom, loader),
                 "loading hvmloader", err);
}

static void
describe(const struct libspawn__xen_guest *guest, struct xc_dom_image *dom)
{
    const struct libspawn__xen_memory *memory = &guest->memory;

    dom->container_type = XC_DOM_HVM_CONTAINER;
    dom->device_model = true;
    dom->claim_enabled = 1; /* all memory at once, or a failure at once */
    dom->max_vcpus = guest->n_vcpus_max;
    dom->vga_hole_size = VGA_HOLE_PAGES;
    dom->mmio_size = HVM_BELOW_4G_MMIO_LENGTH;
    dom->mmio_start = HVM_BELOW_4G_MMIO_START;
    dom->lowmem_end = memory->low_end;
    dom->highmem_end = memory->high_end;
    dom->target_pages = (memory->target_kib - memory->video_kib) /
                        (XC_PAGE_SIZE / 1024);
    dom->console_evtchn = guest->console_port;
    dom->console_domid = guest->console_domid;
    dom->xenstore_evtchn = guest->store_port;
    dom->xenstore_domid = guest->store_domid;
}

/* Where RAM is, for hvmloader, which asks the hypervisor. */
static int
set_memory_map(struct libspawn__xen *xen,
               const struct libspawn__xen_guest *guest, struct image *image,
               struct libspawn_err *err)
{
    const struct libspawn__xen_memory *memory = &guest->memory;
    uint32_t n = 1;

    image->map[0] = (struct e820entry){
        .addr = LOW_RAM_START,
        .size = memory->low_end - LOW_RAM_START,
        .type = E820_RAM_TYPE,
    };
    if (memory->high_end) {
        image->map[n++] = (struct e820entry){
            .addr = HIGH_RAM_START,
            .size = memory->high_end - HIGH_RAM_START,
            .type = E820_RAM_TYPE,
        };
    }
    if (xc_domain_set_memory_map(xen->xc, guest->domid, image->map, n)) {
        return libspawn__xen_fail(xen, err, errno, "setting the memory map");
    }
    image->dom->e820 = image->map;
    image->dom->e820_entries = n;
    return 0;
}

static int
populate(struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
         struct image *image, struct libspawn_err *err)
{
    const struct libspawn__xen_memory *memory = &guest->memory;
    uint64_t ram_mib = (memory->max_kib - memory->video_kib) / 1024;
    int rc = check(xen, xc_dom_mem_init(image->dom, (unsigned int)ram_mib),
                   "dividing its memory", err);

    /* What was free when it was looked at may be somebody else's by now. */
    if (!rc && xc_dom_boot_mem_init(image->dom)) {
        rc = libspawn__xen_fail(xen, err, ENOMEM,
                                "giving the domain %" PRIu64 " MiB of memory",
                                ram_mib);
    }
    return rc ? rc : set_memory_map(xen, guest, image, err);
}

static int
put_into_memory(struct libspawn__xen *xen,
                const struct libspawn__xen_guest *guest, struct image *image,
                struct libspawn_err *err)
{
    struct xc_dom_image *dom = image->dom;
    int rc;

    rc = check(xen, xc_dom_boot_xen_init(dom, xen->xc, guest->domid),
               "beginning the image", err);
    if (!rc) {
        rc = check(xen, xc_dom_parse_image(dom), "reading hvmloader", err);
    }
    if (!rc) {
        rc = populate(xen, guest, image, err);
    }
    if (!rc) {
        rc = check(xen, xc_dom_build_image(dom), "copying the image", err);
    }
    if (!rc) {
        rc = check(xen, xc_dom_boot_image(dom), "finishing the image", err);
    }
    if (!rc) {
        rc = check(xen, xc_dom_gnttab_init(dom), "granting its rings", err);
    }
    return rc;
}

static void
fill_info_table(struct hvm_info_table *info,
                const struct libspawn__xen_guest *guest)
{
    const uint8_t *bytes = (const uint8_t *)info;
    uint8_t sum = 0;
    uint32_t i;

    info->apic_mode = libspawn__xen_choice(guest->config->apic, true);
    info->nr_vcpus = guest->n_vcpus_max;
    memset(info->vcpu_online, 0, sizeof info->vcpu_online);
    for (i = 0; i < guest->n_vcpus; i++) {
        info->vcpu_online[i / 8] |= (uint8_t)(1u << (i % 8));
    }
    /* libxenguest has begun the table, its length included. */
    for (i = 0; i < MIN(info->length, sizeof *info); i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    info->checksum = (uint8_t)(info->checksum - sum);
}

static void
close_memory(xenforeignmemory_handle **memory)
{
    if (*memory) {
        xenforeignmemory_close(*memory);
    }
}

/* A page in the guest through which hvmloader learns of its processors. */
static int
write_info_page(struct libspawn__xen *xen,
                const struct libspawn__xen_guest *guest,
                struct libspawn_err *err)
{
    AUTO(close_memory) xenforeignmemory_handle *memory =
        xenforeignmemory_open(&xen->logger.vtable, 0);
    const xen_pfn_t frame = HVM_INFO_PFN;
    char *page = memory ? xenforeignmemory_map(memory, guest->domid,
                                               PROT_READ | PROT_WRITE, 1,
                                               &frame, NULL)
                        : NULL;

    if (!page) {
        return libspawn__xen_fail(xen, err, errno,
                                  "mapping the domain's information page");
    }
    fill_info_table((struct hvm_info_table *)(void *)(page + HVM_INFO_OFFSET),
                    guest);
    xenforeignmemory_unmap(memory, page, 1);
    return 0;
}

int
libspawn__xen_image_build(struct libspawn__xen *xen,
                          struct libspawn__xen_guest *guest,
                          struct libspawn_err *err)
{
    AUTO(image_dispose) struct image image = { 0 };
    int rc;

    if (guest->type != LIBSPAWN_GUEST_TYPE_HVM) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "only HVM guests can be built");
    }
    libspawn__xen_clear(xen);
    image.dom = xc_dom_allocate(xen->xc, NULL, NULL);
    if (!image.dom) {
        return libspawn__fail_nomem(err);
    }
    describe(guest, image.dom);
    rc = load_files(xen, guest, &image, err);
    if (!rc) {
        rc = put_into_memory(xen, guest, &image, err);
    }
    if (!rc) {
        rc = write_info_page(xen, guest, err);
    }
    if (rc) {
        return rc;
    }
    guest->store_frame = image.dom->xenstore_pfn;
    guest->console_frame = image.dom->console_pfn;
    return 0;
}
