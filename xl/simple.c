/*
 * The subcommands that are one call each.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/supervised.h"
#include "wire/json.h"
#include "xl/command.h"

typedef int guest_call(struct libspawn_host *host, uint32_t domid,
                       struct libspawn_err *err);

static int
call_on_guest(struct xl *xl, int argc, char *argv[], guest_call *call)
{
    struct libspawn_err err;
    uint32_t domid;
    int status;

    if (!xl__one_guest(xl, argc, argv, &domid, &status)) {
        return status;
    }
    return call(xl->host, domid, &err) ? xl__fail(xl, &err) : XL__EXIT_OK;
}

int
xl__destroy_run(struct xl *xl, int argc, char *argv[])
{
    int status;

    xl->is_ending = true;
    status = call_on_guest(xl, argc, argv, libspawn_guest_destroy);
    if (xl->host) {
        libspawn__supervised_restore(xl->host); /* of the others */
    }
    return status;
}

int
xl__pause_run(struct xl *xl, int argc, char *argv[])
{
    return call_on_guest(xl, argc, argv, libspawn_guest_pause);
}

int
xl__unpause_run(struct xl *xl, int argc, char *argv[])
{
    return call_on_guest(xl, argc, argv, libspawn_guest_unpause);
}

int
xl__domid_run(struct xl *xl, int argc, char *argv[])
{
    uint32_t domid;
    int status;

    if (xl__one_guest(xl, argc, argv, &domid, &status)) {
        printf("%u\n", (unsigned int)domid);
    }
    return status;
}

int
xl__domname_run(struct xl *xl, int argc, char *argv[])
{
    struct libspawn_err err;
    uint32_t domid;
    char *name;
    int status;

    if (!xl__one_guest(xl, argc, argv, &domid, &status)) {
        return status;
    }
    if (libspawn_guest_get_name(xl->host, domid, &name, &err)) {
        return xl__fail(xl, &err);
    }
    printf("%s\n", name);
    free(name);
    return XL__EXIT_OK;
}

int
xl__screenshot_run(struct xl *xl, int argc, char *argv[])
{
    const char *file = argc == 3 ? argv[2] : NULL;
    struct libspawn_err err;
    uint32_t domid;
    int status;

    if (argc == 2 && argv[1][0] != '-') {
        return xl__usage_error(xl, "which file?");
    }
    if (!xl__one_guest(xl, file ? 2 : argc, argv, &domid, &status)) {
        return status;
    }
    return libspawn_guest_screenshot(xl->host, domid, file, &err)
               ? xl__fail(xl, &err)
               : XL__EXIT_OK;
}

static int
exec_viewer(struct libspawn_host *host, uint32_t domid,
            struct libspawn_err *err)
{
    char *address;
    int rc = libspawn_guest_get_vnc(host, domid, &address, err);

    if (rc) {
        return rc;
    }
    execlp("vncviewer", "vncviewer", address, (char *)NULL);
    fprintf(stderr, "xl: no vncviewer is installed; the display is at %s\n",
            address);
    free(address);
    exit(XL__EXIT_FAILED);
}

int
xl__vncviewer_run(struct xl *xl, int argc, char *argv[])
{
    return call_on_guest(xl, argc, argv, exec_viewer);
}

int
xl__version_run(struct xl *xl, int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    struct libspawn__json_writer *w;
    const char *hypervisor;
    char *text;
    int option;
    int status;

    while ((option = xl__next_option(xl, argc, argv, ":h", options)) != -1) {
        if (option != 'j') {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
        xl->as_json = true;
    }
    status = xl__open_host(xl);
    if (status) {
        return status;
    }
    hypervisor = libspawn_host_hypervisor(xl->host);
    if (!xl->as_json) {
        printf("xl %s\nhypervisor %s\n", LIBSPAWN_VERSION, hypervisor);
        return XL__EXIT_OK;
    }
    w = libspawn__json_writer_new(true);
    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "version", LIBSPAWN_VERSION);
    libspawn__json_put_string(w, "hypervisor", hypervisor);
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    fputs(text ? text : "{}\n", stdout); /* laid out, with its newline */
    free(text);
    return XL__EXIT_OK;
}
