#include "proc/worker_calls.h"

#include <string.h>

#include "base/str.h"
#include "base/util.h"

/* One request under way: its payload grows here. */
struct call {
    struct libspawn__buf payload;
    uint32_t type;
    uint32_t limit_ms; /* 0: none */
    int fd;            /* -1: none */
};

static void
put_string(struct call *call, const char *text)
{
    libspawn__buf_append(&call->payload, text, strlen(text) + 1);
}

/* Returns how many there were. */
static uint32_t
put_strings(struct call *call, const char *const *list)
{
    uint32_t n = 0;

    for (; list && list[n]; n++) {
        put_string(call, list[n]);
    }
    return n;
}

/* Sends it, with 'more' behind the payload (NULL: nothing), and empties it. */
static int
finish(struct call *call, struct libspawn__worker *worker,
       const struct iovec *more, const struct libspawn__worker_hearer *hearer,
       struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf payload = call->payload;
    const struct iovec iov[] = { { payload.data, payload.size },
                                 more ? *more : (struct iovec){ NULL, 0 } };
    const struct libspawn__worker_request request = {
        .type = call->type,
        .iov = iov,
        .n_iov = ARRAY_SIZE(iov),
        .fds = &call->fd,
        .n_fds = call->fd >= 0,
        .limit_ms = call->limit_ms,
        .fn = hearer ? hearer->fn : NULL,
        .user = hearer ? hearer->user : NULL,
    };

    call->payload = (struct libspawn__buf){ .data = NULL };
    return payload.failed ? libspawn__fail_nomem(err)
                          : libspawn__worker_request(worker, &request, err);
}

/* The worker ends it at the limit; if that does not help, it is ended. */
static uint32_t
with_margin(uint32_t limit_ms)
{
    return limit_ms > UINT32_MAX - LIBSPAWN__WORKER_MARGIN_MS
               ? UINT32_MAX
               : limit_ms + LIBSPAWN__WORKER_MARGIN_MS;
}

/* ---- Class "io" -------------------------------------------------------- */

int
libspawn__worker_append(struct libspawn__worker *worker, int fd,
                        const struct iovec *bytes, bool sync,
                        const struct libspawn__worker_hearer *hearer,
                        struct libspawn_err *err)
{
    const struct libspawn__worker_append append = { .sync = sync };
    struct call call = { .type = LIBSPAWN__WORKER_APPEND,
                         .limit_ms = LIBSPAWN__WORKER_FILE_MS,
                         .fd = fd };

    libspawn__buf_append(&call.payload, &append, sizeof append);
    return finish(&call, worker, bytes, hearer, err);
}

int
libspawn__worker_rotate(struct libspawn__worker *worker, const char *path,
                        uint32_t n_old, mode_t mode,
                        const struct libspawn__worker_hearer *hearer,
                        struct libspawn_err *err)
{
    const struct libspawn__worker_rotate rotate = { .n_old = n_old,
                                                    .mode = mode };
    struct call call = { .type = LIBSPAWN__WORKER_ROTATE,
                         .limit_ms = LIBSPAWN__WORKER_FILE_MS,
                         .fd = -1 };

    libspawn__buf_append(&call.payload, &rotate, sizeof rotate);
    put_string(&call, path);
    return finish(&call, worker, NULL, hearer, err);
}

int
libspawn__worker_post_mortem(struct libspawn__worker *worker,
                             const struct libspawn__worker_core *core,
                             const struct libspawn__worker_hearer *hearer,
                             struct libspawn_err *err)
{
    const struct libspawn__worker_post_mortem post_mortem = {
        .limit_ms =
            core->limit_ms ? core->limit_ms : LIBSPAWN__WORKER_CORE_MS
    };
    struct call call = { .type = LIBSPAWN__WORKER_POST_MORTEM,
                         .limit_ms = with_margin(post_mortem.limit_ms),
                         .fd = core->output_fd };

    libspawn__buf_append(&call.payload, &post_mortem, sizeof post_mortem);
    put_string(&call, core->debugger ? core->debugger : "/usr/bin/gdb");
    put_string(&call, core->core);
    put_string(&call, core->program);
    return finish(&call, worker, NULL, hearer, err);
}

/* ---- Class "probe" ----------------------------------------------------- */

int
libspawn__worker_open_image(struct libspawn__worker *worker, const char *path,
                            uint32_t flags, uint32_t limit_ms,
                            const struct libspawn__worker_hearer *hearer,
                            struct libspawn_err *err)
{
    const struct libspawn__worker_open_image open_image = { .flags = flags };
    struct call call = {
        .type = LIBSPAWN__WORKER_OPEN_IMAGE,
        .limit_ms = limit_ms ? limit_ms : LIBSPAWN__WORKER_FILE_MS,
        .fd = -1,
    };

    libspawn__buf_append(&call.payload, &open_image, sizeof open_image);
    put_string(&call, path);
    return finish(&call, worker, NULL, hearer, err);
}

int
libspawn__worker_image_info(struct libspawn__worker *worker, int fd,
                            const char *tool, uint32_t limit_ms,
                            const struct libspawn__worker_hearer *hearer,
                            struct libspawn_err *err)
{
    const struct libspawn__worker_image_info info = {
        .limit_ms = limit_ms ? limit_ms : LIBSPAWN__WORKER_INFO_MS
    };
    struct call call = { .type = LIBSPAWN__WORKER_IMAGE_INFO,
                         .limit_ms = with_margin(info.limit_ms),
                         .fd = fd };

    libspawn__buf_append(&call.payload, &info, sizeof info);
    put_string(&call, tool ? tool : "/usr/bin/qemu-img");
    return finish(&call, worker, NULL, hearer, err);
}

int
libspawn__worker_script(struct libspawn__worker *worker,
                        const struct libspawn__worker_program *program,
                        const struct libspawn__worker_hearer *hearer,
                        struct libspawn_err *err)
{
    struct libspawn__worker_script script = {
        .limit_ms =
            program->limit_ms ? program->limit_ms : LIBSPAWN__WORKER_SCRIPT_MS
    };
    struct call call = { .type = LIBSPAWN__WORKER_SCRIPT,
                         .limit_ms = with_margin(script.limit_ms),
                         .fd = -1 };

    libspawn__buf_append(&call.payload, &script, sizeof script);
    put_string(&call, program->path);
    script.n_args = put_strings(&call, program->argv);
    script.n_env = put_strings(&call, program->env);
    if (call.payload.data) {
        memcpy(call.payload.data, &script, sizeof script);
    }
    return finish(&call, worker, NULL, hearer, err);
}

int
libspawn__worker_lock(struct libspawn__worker *worker, int fd,
                      uint32_t limit_ms,
                      const struct libspawn__worker_hearer *hearer,
                      struct libspawn_err *err)
{
    struct call call = { .type = LIBSPAWN__WORKER_LOCK,
                         .limit_ms = MAX(limit_ms, 1),
                         .fd = fd };

    return finish(&call, worker, NULL, hearer, err);
}

/* ---- Replies ----------------------------------------------------------- */

/* Copies the structure that a reply begins with. */
static int
read_structure(const struct libspawn__worker_reply *reply, void *structure_r,
               size_t size, struct libspawn_err *err)
{
    if (reply->code) {
        return libspawn__fail(err, reply->code, "%s", reply->err->text);
    }
    if (reply->size < size) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "a worker's reply of %zu bytes is too short",
                              reply->size);
    }
    memcpy(structure_r, reply->data, size);
    return 0;
}

int
libspawn__worker_read_end(const struct libspawn__worker_reply *reply,
                          struct libspawn__worker_ended *end_r,
                          const char **tail_r, struct libspawn_err *err)
{
    int rc = read_structure(reply, end_r, sizeof *end_r, err);

    if (!rc) {
        *tail_r = reply->data + sizeof *end_r;
    }
    return rc;
}

int
libspawn__worker_read_image(const struct libspawn__worker_reply *reply,
                            struct libspawn__worker_image *image_r,
                            struct libspawn_err *err)
{
    int rc = read_structure(reply, image_r, sizeof *image_r, err);

    if (!rc && !reply->n_fds) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "a worker's reply lacks the image");
    }
    return rc;
}
