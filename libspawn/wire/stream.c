/*
 * Names to sockets, by a table of kinds.
 */
#include "wire/stream.h"

#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "wire/stream_class.h"

static const struct libspawn__stream_class *const classes[] = {
    &libspawn__stream_unix, &libspawn__stream_punix, &libspawn__stream_tcp,
    &libspawn__stream_ptcp, &libspawn__stream_fd,    &libspawn__stream_pfd,
};

/* NULL: there is no such kind. */
static const struct libspawn__stream_class *
find_class(const char *name, const char **argument_r)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(classes); i++) {
        if (libspawn__str_has_prefix(name, classes[i]->prefix)) {
            *argument_r = name + strlen(classes[i]->prefix);
            return classes[i];
        }
    }
    return NULL;
}

static int
fail_active(const char *name, struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "'%s' is not unix:PATH, tcp:HOST:PORT or fd:NUMBER",
                          name);
}

int
libspawn__stream_connect(const char *name, int *fd_r, struct libspawn_err *err)
{
    const char *argument;
    const struct libspawn__stream_class *class = find_class(name, &argument);

    return class && class->connect ? class->connect(argument, fd_r, err)
                                   : fail_active(name, err);
}

int
libspawn__stream_listen_anywhere(const char *name, mode_t mode, int *fd_r,
                                 struct libspawn_err *err)
{
    const char *argument;
    const struct libspawn__stream_class *class = find_class(name, &argument);

    if (class && class->listen) {
        return class->listen(argument, mode, fd_r, err);
    }
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "'%s' is not punix:PATH, ptcp:PORT[:ADDRESS] or "
                          "pfd:NUMBER",
                          name);
}

int
libspawn__stream_listen(const char *name, mode_t mode, int *fd_r,
                        struct libspawn_err *err)
{
    const char *argument;
    const struct libspawn__stream_class *class = find_class(name, &argument);

    if (class && class->from_network) {
        return libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                              "'%s': nothing here is to be reached over the "
                              "network",
                              name);
    }
    return libspawn__stream_listen_anywhere(name, mode, fd_r, err);
}

int
libspawn__stream_check_foreign(const char *name, struct libspawn_err *err)
{
    const char *argument;
    const struct libspawn__stream_class *class = find_class(name, &argument);

    if (!class) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "'%s' is not unix:PATH, tcp:HOST:PORT, "
                              "punix:PATH or ptcp:PORT[:ADDRESS]",
                              name);
    }
    if (class->is_number) {
        return libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                              "'%s': the number of a descriptor means "
                              "something only on a command line",
                              name);
    }
    return class->check ? class->check(argument, err) : 0;
}

enum libspawn__stream_kind
libspawn__stream_kind(const char *name)
{
    const char *argument;
    const struct libspawn__stream_class *class = find_class(name, &argument);

    return !class           ? LIBSPAWN__STREAM_NONE
           : class->connect ? LIBSPAWN__STREAM_ACTIVE
                            : LIBSPAWN__STREAM_PASSIVE;
}
