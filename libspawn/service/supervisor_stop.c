/*
 * Ending the guest because somebody asked for it at the control socket.
 *
 *   shutdown   the guest is asked, and may ignore it; what follows its end is
 *              as always
 *   destroy    it is removed, whatever its configuration says; the answer
 *              comes when nothing is left of it
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "service/supervisor.h"

struct stopping {
    struct libspawn__list link;
    struct libspawn__rpc_request *request;
};

/* ---- Asking it --------------------------------------------------------- */

static void
on_asked(void *user, const struct libspawn__json *result,
         const struct libspawn_err *err)
{
    struct libspawn__rpc_request *request = user;

    (void)result;
    if (err) {
        libspawn__rpc_refuse(request, err);
    } else {
        libspawn__rpc_answer_empty(request);
    }
}

/* Where the device model is the guest, its power button is at our own
 * connection to it, which nobody has to wait for. */
static int
shut_down(struct libspawn__supervisor *s,
          struct libspawn__rpc_request *request, struct libspawn_err *err)
{
    struct libspawn__qmp *qmp;
    int rc;

    if (s->host->hypervisor->find_end) {
        rc = libspawn_guest_shutdown(s->host, s->domid, false, err);
        if (!rc) {
            libspawn__rpc_answer_empty(request);
        }
        return rc;
    }
    rc = libspawn__supervisor_find_monitor(s, &qmp, err);
    return rc ? rc
              : libspawn__qmp_command(qmp, "system_powerdown", NULL, -1,
                                      on_asked, request, err);
}

/* ---- Removing it ------------------------------------------------------- */

static int
destroy(struct libspawn__supervisor *s, struct libspawn__rpc_request *request,
        struct libspawn_err *err)
{
    struct stopping *stopping;

    if (s->create || s->state == LIBSPAWN__STATE_STARTING ||
        s->state == LIBSPAWN__STATE_DOWN) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "guest '%s' is being started", s->config->name);
    }
    if (s->state == LIBSPAWN__STATE_TERMINATED) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "the supervisor of guest '%s' leaves",
                              s->config->name);
    }
    stopping = calloc(1, sizeof *stopping);
    if (!stopping) {
        return libspawn__fail_nomem(err);
    }
    stopping->request = request;
    libspawn__list_append(&s->stopping, &stopping->link);
    libspawn__supervisor_move(s, LIBSPAWN__ON_REMOVE);
    return 0;
}

static struct libspawn__rpc_request *
take_request(struct libspawn__supervisor *s)
{
    struct stopping *stopping =
        CONTAINER_OF(s->stopping.next, struct stopping, link);
    struct libspawn__rpc_request *request = stopping->request;

    libspawn__list_remove(&stopping->link);
    free(stopping);
    return request;
}

void
libspawn__supervisor_tell_stopped(struct libspawn__supervisor *s,
                                  const struct libspawn_err *err)
{
    while (!libspawn__list_is_empty(&s->stopping)) {
        on_asked(take_request(s), NULL, err);
    }
}

/* ---- The method -------------------------------------------------------- */

int
libspawn__supervisor_stop(struct libspawn__supervisor *s, const char *how,
                          struct libspawn__rpc_request *request,
                          struct libspawn_err *err)
{
    if (libspawn__str_equal(how, "shutdown")) {
        return shut_down(s, request, err);
    }
    if (libspawn__str_equal(how, "destroy")) {
        return destroy(s, request, err);
    }
    return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                          "\"how\" has to be \"shutdown\" or \"destroy\"");
}
