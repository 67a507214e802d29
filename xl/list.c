/*
 * xl list: the stock table, the table as JSON, or the configurations.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/util.h"
#include "wire/json.h"
#include "xl/command.h"

/* The letters of the State column, in its order. */
static const struct {
    unsigned int bit;
    char letter;
    const char *word; /* in JSON */
} states[] = {
    { LIBSPAWN_GUEST_RUNNING, 'r', "running" },
    { LIBSPAWN_GUEST_BLOCKED, 'b', "blocked" },
    { LIBSPAWN_GUEST_PAUSED, 'p', "paused" },
    { LIBSPAWN_GUEST_SHUTDOWN, 's', "shutdown" },
    { LIBSPAWN_GUEST_CRASHED, 'c', "crashed" },
    { LIBSPAWN_GUEST_DYING, 'd', "dying" },
};

/* The stock format to the letter, since scripts read it.  What it has no
 * column for, a device model that ended, stands behind it. */
static void
print_row(const struct libspawn_guest_info *info)
{
    char letters[ARRAY_SIZE(states) + 1] = "";
    char when[XL__TIME_SIZE] = "";
    size_t i;

    for (i = 0; i < ARRAY_SIZE(states); i++) {
        letters[i] = info->state & states[i].bit ? states[i].letter : '-';
    }
    if (info->dm_end && info->dm_ended_at_ms) {
        xl__format_time(info->dm_ended_at_ms, when);
    }
    printf("%-40s %5u %5llu %5u     %s  %8.1f%s%s%s%s\n",
           info->name[0] ? info->name : "(null)", /* as the stock xl */
           (unsigned int)info->domid, (unsigned long long)info->memory_mib,
           info->vcpus, letters, (double)info->cpu_time_ms / 1000,
           info->dm_end ? "  device model " : "",
           info->dm_end ? info->dm_end : "", when[0] ? ", " : "", when);
}

static const char *const type_names[] = {
    [LIBSPAWN_GUEST_TYPE_DEFAULT] = "unknown",
    [LIBSPAWN_GUEST_TYPE_HVM] = "hvm",
    [LIBSPAWN_GUEST_TYPE_PVH] = "pvh",
    [LIBSPAWN_GUEST_TYPE_PV] = "pv",
};

static void
put_info(struct libspawn__json_writer *w,
         const struct libspawn_guest_info *info)
{
    size_t i;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "name", info->name);
    libspawn__json_put_integer(w, "domid", info->domid);
    libspawn__json_put_string(w, "uuid", info->uuid);
    libspawn__json_put_string(w, "type", type_names[info->type]);
    libspawn__json_put_integer(w, "memory_mib", (int64_t)info->memory_mib);
    libspawn__json_put_integer(w, "vcpus", info->vcpus);
    libspawn__json_begin_array(w, "state");
    for (i = 0; i < ARRAY_SIZE(states); i++) {
        if (info->state & states[i].bit) {
            libspawn__json_put_string(w, NULL, states[i].word);
        }
    }
    libspawn__json_end_array(w);
    libspawn__json_put_integer(w, "cpu_time_ms", info->cpu_time_ms);
    if (info->dm_end) {
        libspawn__json_put_string(w, "device_model_end", info->dm_end);
        if (info->dm_ended_at_ms) {
            libspawn__json_put_integer(w, "device_model_ended_at_ms",
                                       info->dm_ended_at_ms);
        }
    }
    libspawn__json_end_object(w);
}

/* A guest without a stored configuration, such as domain 0 or one that
 * another toolstack made, is left out, as the stock xl does. */
static void
put_config(struct xl *xl, struct libspawn__json_writer *w,
           const struct libspawn_guest_info *info)
{
    AUTO_JSON struct libspawn__json *config = NULL;
    AUTO_FREE char *text = NULL;

    if (!libspawn_guest_get_libxl_json(xl->host, info->domid, &text, NULL) &&
        !libspawn__json_parse(text, strlen(text), strlen(text), &config,
                              NULL)) {
        libspawn__json_begin_object(w, NULL);
        libspawn__json_put_integer(w, "domid", info->domid);
        libspawn__json_put(w, "config", config);
        libspawn__json_end_object(w);
    }
}

struct request {
    bool is_long;
    char **guests; /* names or domids; none: all */
    int n_guests;
};

static bool
is_wanted(struct xl *xl, const struct request *request,
          const struct libspawn_guest_info *info)
{
    int i;

    for (i = 0; i < request->n_guests; i++) {
        uint32_t domid;

        if (!libspawn_guest_find(xl->host, request->guests[i], &domid, NULL) &&
            domid == info->domid) {
            return true;
        }
    }
    return !request->n_guests;
}

static int
print_list(struct xl *xl, const struct request *request,
           const struct libspawn_guest_info *list, size_t n)
{
    bool is_json = xl->as_json || request->is_long;
    struct libspawn__json_writer *w = NULL;
    struct libspawn_err err;
    char *text;
    size_t i;

    if (is_json) {
        w = libspawn__json_writer_new(true);
        libspawn__json_begin_array(w, NULL);
    } else {
        printf("%-40s %5s %5s %5s\t%s\t%s\n", "Name", "ID", "Mem", "VCPUs",
               "State", "Time(s)");
    }
    for (i = 0; i < n; i++) {
        if (!is_wanted(xl, request, &list[i])) {
            continue;
        }
        if (request->is_long) {
            put_config(xl, w, &list[i]);
        } else if (xl->as_json) {
            put_info(w, &list[i]);
        } else {
            print_row(&list[i]);
        }
    }
    if (!is_json) {
        return XL__EXIT_OK;
    }
    libspawn__json_end_array(w);
    text = libspawn__json_writer_take(w);
    if (!text) {
        libspawn__fail_nomem(&err);
        return xl__fail(xl, &err);
    }
    /* Laid out, with its newline; but nothing takes three lines. */
    fputs(strchr(text, '{') ? text : "[]\n", stdout);
    free(text);
    return XL__EXIT_OK;
}

/* Each guest that was asked for must exist. */
static int
check_guests(struct xl *xl, const struct request *request)
{
    struct libspawn_err err;
    uint32_t domid;
    int i;

    for (i = 0; i < request->n_guests; i++) {
        if (libspawn_guest_find(xl->host, request->guests[i], &domid, &err)) {
            return xl__fail(xl, &err);
        }
    }
    return XL__EXIT_OK;
}

int
xl__list_run(struct xl *xl, int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, 'j' },
        { "long", no_argument, NULL, 'l' },
        { NULL, 0, NULL, 0 },
    };
    struct request request = { .is_long = false };
    struct libspawn_guest_info *list;
    struct libspawn_err err;
    int option;
    int status;
    size_t n;

    while ((option = xl__next_option(xl, argc, argv, ":hl", options)) != -1) {
        if (option == 'l') {
            request.is_long = true;
        } else if (option == 'j') {
            xl->as_json = true;
        } else {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
    }
    request.guests = argv + optind;
    request.n_guests = argc - optind;
    status = xl__open_host(xl);
    if (!status) {
        status = check_guests(xl, &request);
    }
    if (status) {
        return status;
    }
    if (libspawn_guest_list(xl->host, &list, &n, &err)) {
        return xl__fail(xl, &err);
    }
    status = print_list(xl, &request, list, n);
    libspawn_guest_list_free(list, n);
    return status;
}
