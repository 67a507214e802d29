/*
 * xl pci-assignable-list, pci-reserve, pci-release: PCI devices for guests.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/auto.h"
#include "base/str.h"
#include "wire/json.h"
#include "xl/command.h"

/* ---- The list ---------------------------------------------------------- */

/* A device that is free stands alone on its line, as the stock xl has it;
 * others, which that does not show, are followed by whose they are. */
static void
print_device(const struct libspawn_pci_info *info)
{
    char since[XL__TIME_SIZE];

    if (!info->guest) {
        puts(info->address);
        return;
    }
    xl__format_time(info->since_ms, since);
    printf("%-13s %-24s since %s%s%s\n", info->address, info->guest, since,
           info->is_kept ? ", kept" : "",
           info->is_assignable ? "" : ", not assignable");
}

static void
put_device(struct libspawn__json_writer *w,
           const struct libspawn_pci_info *info)
{
    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "device", info->address);
    if (info->class_number[0]) {
        libspawn__json_put_string(w, "class", info->class_number);
    }
    libspawn__json_put_bool(w, "assignable", info->is_assignable);
    libspawn__json_put_bool(w, "reserved", info->guest);
    if (info->guest) {
        libspawn__json_put_string(w, "guest", info->guest);
        libspawn__json_put_integer(w, "since_ms", info->since_ms);
        libspawn__json_put_bool(w, "kept", info->is_kept);
    }
    if (info->uuid[0]) {
        libspawn__json_put_string(w, "uuid", info->uuid);
    }
    libspawn__json_end_object(w);
}

static void
print_json(const struct libspawn_pci_info *list, size_t n)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(true);
    AUTO_FREE char *text = NULL;
    size_t i;

    libspawn__json_begin_array(w, NULL);
    for (i = 0; i < n; i++) {
        put_device(w, &list[i]);
    }
    libspawn__json_end_array(w);
    text = libspawn__json_writer_take(w);
    fputs(n && text ? text : "[]\n", stdout);
}

int
xl__pci_list_run(struct xl *xl, int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    struct libspawn_pci_info *list;
    struct libspawn_err err;
    size_t n;
    size_t i;
    int option;
    int status;

    while ((option = xl__next_option(xl, argc, argv, ":h", options)) != -1) {
        if (option != 'j') {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
        xl->as_json = true;
    }
    if (optind < argc) {
        return xl__usage_error(xl, "too many arguments");
    }
    status = xl__open_host(xl);
    if (status) {
        return status;
    }
    if (libspawn_pci_list(xl->host, &list, &n, &err)) {
        return xl__fail(xl, &err);
    }
    if (xl->as_json) {
        print_json(list, n);
    }
    for (i = 0; !xl->as_json && i < n; i++) {
        print_device(&list[i]);
    }
    libspawn_pci_list_free(list, n);
    return XL__EXIT_OK;
}

/* ---- Keeping, and ending that ------------------------------------------ */

typedef int device_call(struct libspawn_host *host, const char *name,
                        const char *device, struct libspawn_err *err);

/* A guest may be given by its number, too. */
static int
find_name(struct xl *xl, const char *text, char **name_r,
          struct libspawn_err *err)
{
    uint64_t number;
    uint32_t domid;
    int rc;

    if (libspawn__str_to_u64(text, 0, UINT32_MAX - 1, &number, NULL)) {
        return libspawn__str_assign(name_r, text, err);
    }
    rc = libspawn_guest_find(xl->host, text, &domid, err);
    return rc ? rc : libspawn_guest_get_name(xl->host, domid, name_r, err);
}

static int
call_on_device(struct xl *xl, int argc, char *argv[], device_call *call)
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    AUTO_FREE char *name = NULL;
    struct libspawn_err err;
    int option = xl__next_option(xl, argc, argv, ":h", options);
    int status;
    int rc;

    if (option != -1) {
        return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
    }
    if (argc - optind != 2) {
        return xl__usage_error(xl, argc - optind < 2
                                       ? "which guest, and which device?"
                                       : "too many arguments");
    }
    status = xl__open_host(xl);
    if (status) {
        return status;
    }
    rc = find_name(xl, argv[optind], &name, &err);
    if (!rc) {
        rc = call(xl->host, name, argv[optind + 1], &err);
    }
    return rc ? xl__fail(xl, &err) : XL__EXIT_OK;
}

int
xl__pci_reserve_run(struct xl *xl, int argc, char *argv[])
{
    return call_on_device(xl, argc, argv, libspawn_pci_reserve);
}

int
xl__pci_release_run(struct xl *xl, int argc, char *argv[])
{
    return call_on_device(xl, argc, argv, libspawn_pci_release);
}
