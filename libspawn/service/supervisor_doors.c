/*
 * Where a supervisor can be asked: at its control socket, and at the places
 * that whoever starts it names.
 *
 *   ptcp:PORT[:ADDRESS]   whoever can connect, of whom nobody knows who it is:
 *                         only what changes nothing is answered there
 *   pfd:NUMBER            a socket that an init system listens on.  At the
 *                         path of the control socket it is that one, and stays
 *                         when the supervisor leaves; else it is one more
 *
 * A port is remembered for the supervisor that follows one that died.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/supervised.h"
#include "proc/ctx.h"
#include "service/supervisor.h"
#include "wire/stream.h"

#define PTCP "ptcp:"
#define PFD "pfd:"

/* Takes the listener. */
static int
serve(struct libspawn__supervisor *s, int listener,
      struct libspawn__rpc_server **server_r, struct libspawn_err *err)
{
    bool is_open = libspawn__stream_needs_probes(listener);
    const struct libspawn__rpc_service service = {
        .methods = is_open ? libspawn__supervisor_open_methods
                           : libspawn__supervisor_methods,
        .program = "guest-supervisor",
        .from_network = is_open,
        .ended = libspawn__supervisor_unsubscribe,
        .user = s,
    };

    return libspawn__rpc_server_new(s->host->ctx->loop, listener, &service,
                                    server_r, err);
}

/* ---- Others ------------------------------------------------------------ */

/* Takes the listener. */
static int
add_door(struct libspawn__supervisor *s, int listener,
         struct libspawn_err *err)
{
    AUTO_FD int fd = listener;
    int rc;

    if (s->n_doors == ARRAY_SIZE(s->doors)) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "a supervisor listens at no more than %d places "
                              "besides its control socket",
                              LIBSPAWN__SUPERVISOR_DOORS_MAX);
    }
    rc = serve(s, TAKE_FD(fd), &s->doors[s->n_doors], err);
    s->n_doors += rc ? 0 : 1;
    return rc;
}

/* "tcp:ADDRESS:PORT" is where "ptcp:PORT:ADDRESS" listens. */
static void
remember(struct libspawn__supervisor *s, const char *bound)
{
    const char *address = strchr(bound, ':') + 1;
    const char *colon = strrchr(address, ':');

    snprintf(s->memory.control, sizeof s->memory.control, PTCP "%s:%.*s",
             colon + 1, (int)(colon - address), address);
}

static void
warn_of_strangers(const struct libspawn__supervisor *s, const char *name)
{
    AUTO_FREE char *sentence = libspawn__str_format(
        "the supervisor of guest '%s' listens at '%s', which is not this "
        "host's alone: whoever reaches it sees how the guest is",
        s->config->name, name);

    if (s->callbacks.warned && sentence) {
        s->callbacks.warned(s->callbacks.user, sentence);
    }
}

static int
open_port(struct libspawn__supervisor *s, const char *name,
          struct libspawn_err *err)
{
    AUTO_FREE char *bound = NULL;
    AUTO_FD int fd = -1;
    int rc = libspawn__stream_listen_anywhere(name, 0, &fd, err);

    if (!rc) {
        rc = libspawn__stream_bound_name(fd, &bound, err);
    }
    if (rc) {
        return rc;
    }
    if (!libspawn__stream_is_local(fd)) {
        warn_of_strangers(s, name);
    }
    rc = add_door(s, TAKE_FD(fd), err);
    if (!rc) {
        remember(s, bound);
    }
    return rc;
}

static int
take_inherited(struct libspawn__supervisor *s, const char *name,
               struct libspawn_err *err)
{
    int fd;
    int rc = libspawn__stream_listen_anywhere(name, 0, &fd, err);

    if (rc) {
        return rc;
    }
    if (s->control || !libspawn__stream_is_bound_to(fd, s->control_path)) {
        return add_door(s, fd, err);
    }
    s->is_control_lent = true;
    return serve(s, fd, &s->control, err);
}

static int
open_door(struct libspawn__supervisor *s, const char *name,
          struct libspawn_err *err)
{
    if (libspawn__str_has_prefix(name, PFD)) {
        return take_inherited(s, name, err);
    }
    if (!libspawn__str_has_prefix(name, PTCP)) {
        return libspawn__fail(
            err, LIBSPAWN_ERR_INVALID,
            "'%s' is not " PTCP "PORT[:ADDRESS] or " PFD "NUMBER", name);
    }
    return s->memory.control[0]
               ? libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                "'%s': there is a port already", name)
               : open_port(s, name, err);
}

int
libspawn__supervisor_reopen(struct libspawn__supervisor *s,
                            struct libspawn_err *err)
{
    AUTO_FREE char *name = NULL;
    int rc = libspawn__str_assign(&name, s->memory.control, err);

    return rc || !*name ? rc : open_port(s, name, err);
}

/* ---- All of them ------------------------------------------------------- */

static int
go_on(struct libspawn__supervisor *s,
      const struct libspawn__handover *handover, struct libspawn_err *err)
{
    int rc = serve(s, handover->control_fd, &s->control, err);
    size_t i;

    s->is_control_lent = libspawn__json_bool(
        libspawn__json_member(handover->state, "control_lent"), false);
    for (i = 0; i < handover->n_doors; i++) {
        /* One less is better than no supervisor. */
        add_door(s, handover->door_fds[i], NULL);
    }
    return rc;
}

static int
listen_at_own(struct libspawn__supervisor *s, struct libspawn_err *err)
{
    AUTO_FREE char *name = libspawn__str_format("punix:%s", s->control_path);
    int fd;
    int rc = name ? libspawn__stream_listen(name, 0600, &fd, err)
                  : libspawn__fail_nomem(err);

    return rc ? rc : serve(s, fd, &s->control, err);
}

int
libspawn__supervisor_listen(struct libspawn__supervisor *s,
                            const struct libspawn__supervisor_options *options,
                            struct libspawn_err *err)
{
    const char *const *name;
    int rc = 0;

    s->control_path =
        libspawn__supervised_control_path(s->host, s->config->name);
    if (!s->control_path) {
        return libspawn__fail_nomem(err);
    }
    if (options->handover) {
        return go_on(s, options->handover, err);
    }
    for (name = options->controls; !rc && name && *name; name++) {
        rc = open_door(s, *name, err);
    }
    return rc || s->control ? rc : listen_at_own(s, err);
}

void
libspawn__supervisor_close_doors(struct libspawn__supervisor *s)
{
    while (s->n_doors) {
        libspawn__rpc_server_free(s->doors[--s->n_doors]);
    }
    if (s->control && !s->is_control_lent) {
        unlink(s->control_path);
    }
    libspawn__rpc_server_free(TAKE_PTR(s->control));
    free(TAKE_PTR(s->control_path));
}

void
libspawn__supervisor_describe_doors(const struct libspawn__supervisor *s,
                                    struct libspawn__json_writer *w)
{
    size_t i;

    if (!s->n_doors) {
        return;
    }
    libspawn__json_begin_array(w, "listens");
    for (i = 0; i < s->n_doors; i++) {
        AUTO_FREE char *name = NULL;

        if (!libspawn__stream_bound_name(
                libspawn__rpc_server_listener(s->doors[i]), &name, NULL)) {
            libspawn__json_put_string(w, NULL, name);
        }
    }
    libspawn__json_end_array(w);
}
