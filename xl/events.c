/*
 * xl events: what happened to the guests of this host, and with -f what
 * happens.  It reads the event log itself and needs nobody else; a signal ends
 * it as any program.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/utf8.h"
#include "base/util.h"
#include "guest/events_reader.h"
#include "xl/command.h"

enum {
    GUEST_WIDTH = 20,
    NAME_WIDTH = 18, /* of "supervisor-started" */
    BLIND_POLL_MS = 100
};

struct request {
    bool is_following;
    bool has_since;
    uint64_t since_s;
    int64_t since_ms; /* nothing older; since 1970 */
    char **guests;    /* names or domids; none: all */
    int n_guests;
};

/* ---- Printing ---------------------------------------------------------- */

/* On one line, and nothing that a terminal would obey. */
static void
put_shown(struct libspawn__buf *line, const char *text)
{
    size_t size = strlen(text);

    libspawn__buf_puts(line, text);
    if (!line->failed) {
        libspawn__utf8_make_printable(line->data + line->size - size, size,
                                      "");
    }
}

static void
pad_to(struct libspawn__buf *line, size_t width)
{
    do {
        libspawn__buf_puts(line, " ");
    } while (line->size < width && !line->failed);
}

static void
put_time(struct libspawn__buf *line, int64_t time_ms)
{
    char text[XL__TIME_SIZE];

    xl__format_time(time_ms, text);
    libspawn__buf_printf(line, "%s.%03d ", text, (int)(time_ms % 1000));
}

static void
print_row(const struct libspawn_guest_event *event)
{
    AUTO_BUF struct libspawn__buf line = { 0 };
    const char *how = event->text ? event->text : event->reason;
    size_t column;

    put_time(&line, event->time_ms);
    column = line.size;
    put_shown(&line, event->guest);
    if (event->domid) {
        libspawn__buf_printf(&line, "(%u)", (unsigned int)event->domid);
    }
    pad_to(&line, column += GUEST_WIDTH + 1);
    put_shown(&line, event->name);
    if (how) {
        pad_to(&line, column + NAME_WIDTH + 1);
        put_shown(&line, how);
    }
    if (!line.failed) {
        puts(line.data);
    }
}

/* ---- Choosing ---------------------------------------------------------- */

static bool
is_of(const struct libspawn_guest_event *event, const char *guest)
{
    uint64_t domid;

    return !strcmp(event->guest, guest) ||
           (!libspawn__str_to_u64(guest, 1, UINT32_MAX, &domid, NULL) &&
            domid == event->domid);
}

static bool
is_wanted(const struct request *request,
          const struct libspawn_guest_event *event)
{
    int i;

    if (request->has_since && event->time_ms < request->since_ms) {
        return false;
    }
    for (i = 0; i < request->n_guests; i++) {
        if (is_of(event, request->guests[i])) {
            return true;
        }
    }
    return !request->n_guests;
}

/* ---- Reading ----------------------------------------------------------- */

/* Once for all that were skipped so far. */
static void
warn_of_skipped(const struct libspawn__events_reader *reader, uint64_t *n_told)
{
    if (reader->n_skipped > *n_told) {
        xl__warn("%llu lines of the event log make no sense",
                 (unsigned long long)(reader->n_skipped - *n_told));
        *n_told = reader->n_skipped;
    }
}

/* Until there may be more to read; false when nobody reads our output any
 * more. */
static bool
await_news(const struct libspawn__events_reader *reader)
{
    struct pollfd fds[] = {
        { .fd = reader->fd, .events = POLLIN },
        { .fd = STDOUT_FILENO, .events = 0 },
    };

    poll(fds, ARRAY_SIZE(fds), reader->is_blind ? BLIND_POLL_MS : -1);
    return !fds[1].revents;
}

static int
print_events(struct xl *xl, const struct request *request)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    struct libspawn_guest_event event;
    struct libspawn_err err;
    uint64_t n_told = 0;

    if (libspawn__events_reader_open(&reader, xl->host->state_dir, true,
                                     &err)) {
        return xl__fail(xl, &err);
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    do {
        while (libspawn__events_reader_next(&reader, &event)) {
            if (!is_wanted(request, &event)) {
                continue;
            }
            if (xl->as_json) {
                puts(event.json);
            } else {
                print_row(&event);
            }
            if (ferror(stdout)) {
                return XL__EXIT_OK; /* what is the matter, main tells */
            }
        }
        warn_of_skipped(&reader, &n_told);
    } while (request->is_following && await_news(&reader));
    return XL__EXIT_OK;
}

/* ---- Options ----------------------------------------------------------- */

enum {
    OPTION_JSON = 256,
    OPTION_SINCE
};

/* -1, or what to exit with. */
static int
take_option(struct xl *xl, struct request *request, int option)
{
    enum {
        MAX_SINCE_S = 100 * 365 * 86400U
    };
    struct libspawn_err err;

    switch (option) {
    case 'f':
        request->is_following = true;
        return -1;
    case OPTION_JSON:
        xl->as_json = true;
        return -1;
    case OPTION_SINCE:
        if (libspawn__str_to_u64(optarg, 0, MAX_SINCE_S, &request->since_s,
                                 &err)) {
            return xl__usage_error(xl, "--since: %s", err.text);
        }
        request->has_since = true;
        return -1;
    default:
        return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
    }
}

int
xl__events_run(struct xl *xl, int argc, char *argv[])
{
    static const struct option options[] = {
        { "follow", no_argument, NULL, 'f' },
        { "help", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, OPTION_JSON },
        { "since", required_argument, NULL, OPTION_SINCE },
        { NULL, 0, NULL, 0 },
    };
    struct request request = { .is_following = false };
    int option;
    int status;

    while ((option = xl__next_option(xl, argc, argv, ":hf", options)) != -1) {
        status = take_option(xl, &request, option);
        if (status >= 0) {
            return status;
        }
    }
    request.guests = argv + optind;
    request.n_guests = argc - optind;
    request.since_ms = libspawn__clock_realtime_ms() -
                       (int64_t)request.since_s * 1000;
    status = xl__open_host(xl);
    return status ? status : print_events(xl, &request);
}
