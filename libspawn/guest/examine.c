#include "guest/examine.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "proc/image.h"
#include "proc/worker_calls.h"

static int ask(struct libspawn_create *create, struct libspawn_err *err);

/* ---- One file ---------------------------------------------------------- */

static int
fail_file(const struct libspawn__examined *file, int sys_errno,
          struct libspawn_err *err)
{
    return libspawn__fail_errno(err, sys_errno, "%s '%s'", file->what,
                                file->path);
}

/* It was opened, if it could be. */
static int
judge(struct libspawn_create *create, struct libspawn__examined *file,
      struct libspawn_err *err)
{
    int rc = create->examination.judge(create, file, err);

    if (rc || !file->is_kept) {
        libspawn__auto_close(&file->fd);
        file->fd = -1;
    }
    return rc;
}

static int
look(struct libspawn_create *create, struct libspawn__examined *file,
     struct libspawn_err *err)
{
    struct libspawn_err why = { 0 };
    int rc = libspawn__image_open(file->path, file->flags, &file->image,
                                  &file->fd, &why);

    if (rc && why.sys_errno) {
        return fail_file(file, why.sys_errno, err);
    }
    return rc ? libspawn__fail(err, rc, "%s", why.text)
              : judge(create, file, err);
}

/* ---- A worker's answer ------------------------------------------------- */

static uint32_t
limit_ms(const struct libspawn_create *create)
{
    return create->config->start_timeout_ms
               ? create->config->start_timeout_ms
               : (uint32_t)LIBSPAWN__WORKER_FILE_MS;
}

static int
explain(const struct libspawn_create *create,
        const struct libspawn__examined *file,
        const struct libspawn_err *why, struct libspawn_err *err)
{
    if (why->code == LIBSPAWN_ERR_TIMEOUT) {
        return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                              "%s '%s' does not answer: it could not be "
                              "opened within %u ms",
                              file->what, file->path, limit_ms(create));
    }
    if (why->sys_errno) {
        return fail_file(file, why->sys_errno, err);
    }
    return libspawn__fail(err, why->code, "%s '%s': %s", file->what,
                          file->path, why->text);
}

static int
take_reply(struct libspawn_create *create, struct libspawn__examined *file,
           struct libspawn__worker_reply *reply, struct libspawn_err *err)
{
    struct libspawn_err why = { 0 };
    int rc;

    if (reply->code) {
        return explain(create, file, reply->err, err);
    }
    rc = libspawn__worker_read_image(reply, &file->image, &why);
    if (rc) {
        return explain(create, file, &why, err);
    }
    file->fd = TAKE_FD(reply->fds[0]);
    return judge(create, file, err);
}

/* A worker that was killed in between had only looked: another may look once
 * more, until too many have died. */
static void
on_reply(struct libspawn__worker *worker, struct libspawn__worker_reply *reply,
         void *user)
{
    struct libspawn_create *create = user;
    struct libspawn__examination *x = &create->examination;
    struct libspawn_err err = { 0 };
    int rc = 0;

    (void)worker;
    create->abort_step = NULL;
    if (create->err.code) {
        libspawn__create_step_done(create, &create->err);
        return;
    }
    if (reply->code != LIBSPAWN_ERR_GONE) {
        rc = take_reply(create, &x->files[x->n_looked], reply, &err);
        x->n_looked++;
    }
    if (!rc) {
        rc = ask(create, &err);
    }
    if (rc != LIBSPAWN__STEP_PENDING) {
        libspawn__create_step_done(create, rc ? &err : NULL);
    }
}

static void
abort_asking(struct libspawn_create *create)
{
    libspawn__worker_cancel(create->host->probe_worker, &create->err);
}

/* For the next file; 0 when there is none. */
static int
ask(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn__worker_hearer hearer = { on_reply, create };
    struct libspawn__examination *x = &create->examination;
    const struct libspawn__examined *file = &x->files[x->n_looked];
    struct libspawn_err why = { 0 };

    if (x->n_looked == x->n_files) {
        return 0;
    }
    if (libspawn__worker_open_image(create->host->probe_worker, file->path,
                                    file->flags, limit_ms(create), &hearer,
                                    &why)) {
        return explain(create, file, &why, err);
    }
    create->abort_step = abort_asking;
    return LIBSPAWN__STEP_PENDING;
}

/* ---- All of them ------------------------------------------------------- */

int
libspawn__examine_add(struct libspawn_create *create,
                      const struct libspawn__examined *file,
                      struct libspawn_err *err)
{
    struct libspawn__examination *x = &create->examination;
    struct libspawn__examined *files =
        reallocarray(x->files, x->n_files + 1, sizeof *files);

    if (!files) {
        return libspawn__fail_nomem(err);
    }
    x->files = files;
    files[x->n_files] = *file;
    files[x->n_files].fd = -1;
    x->n_files++;
    return 0;
}

int
libspawn__examine_run(struct libspawn_create *create,
                      libspawn__examine_fn *judge_fn, struct libspawn_err *err)
{
    struct libspawn__examination *x = &create->examination;
    int rc = 0;

    x->judge = judge_fn;
    if (create->host->probe_worker) {
        return ask(create, err);
    }
    for (; !rc && x->n_looked < x->n_files; x->n_looked++) {
        rc = look(create, &x->files[x->n_looked], err);
    }
    return rc;
}

int
libspawn__examine_take(struct libspawn_create *create, const char *path,
                       uint32_t flags, int *fd_r, struct libspawn_err *err)
{
    struct libspawn__examination *x = &create->examination;
    size_t i;

    for (i = 0; i < x->n_files; i++) {
        struct libspawn__examined *file = &x->files[i];

        if (file->fd >= 0 && file->flags == flags &&
            !strcmp(file->path, path)) {
            *fd_r = TAKE_FD(file->fd);
            return 0;
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                          "'%s' was not opened before", path);
}

void
libspawn__examine_dispose(struct libspawn_create *create)
{
    struct libspawn__examination *x = &create->examination;
    size_t i;

    for (i = 0; i < x->n_files; i++) {
        libspawn__auto_close(&x->files[i].fd);
    }
    free(x->files);
    *x = (struct libspawn__examination){ .files = NULL };
}
