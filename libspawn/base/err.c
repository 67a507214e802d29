#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "base/util.h"

static const struct {
    int sys_errno;
    int code;
} code_of_errno[] = {
    { ENOENT, LIBSPAWN_ERR_NOT_FOUND },
    { ENOTDIR, LIBSPAWN_ERR_NOT_FOUND },
    { ESRCH, LIBSPAWN_ERR_GONE },
    { EPIPE, LIBSPAWN_ERR_GONE },
    { ECONNRESET, LIBSPAWN_ERR_GONE },
    { ECONNREFUSED, LIBSPAWN_ERR_GONE },
    { EEXIST, LIBSPAWN_ERR_EXISTS },
    { EADDRINUSE, LIBSPAWN_ERR_EXISTS },
    { EAGAIN, LIBSPAWN_ERR_BUSY },
    { EBUSY, LIBSPAWN_ERR_BUSY },
    { EDEADLK, LIBSPAWN_ERR_BUSY },
    { ETXTBSY, LIBSPAWN_ERR_BUSY },
    { EPERM, LIBSPAWN_ERR_DENIED },
    { EACCES, LIBSPAWN_ERR_DENIED },
    { EROFS, LIBSPAWN_ERR_DENIED },
    { ENOMEM, LIBSPAWN_ERR_NO_MEMORY },
    { EMFILE, LIBSPAWN_ERR_LIMIT },
    { ENFILE, LIBSPAWN_ERR_LIMIT },
    { ENOSPC, LIBSPAWN_ERR_LIMIT },
    { EDQUOT, LIBSPAWN_ERR_LIMIT },
    { E2BIG, LIBSPAWN_ERR_LIMIT },
    { EFBIG, LIBSPAWN_ERR_LIMIT },
    { ETIMEDOUT, LIBSPAWN_ERR_TIMEOUT },
    { EINVAL, LIBSPAWN_ERR_INVALID },
    { ENAMETOOLONG, LIBSPAWN_ERR_INVALID },
    { EISDIR, LIBSPAWN_ERR_INVALID },
    { ENOSYS, LIBSPAWN_ERR_UNSUPPORTED },
    { EOPNOTSUPP, LIBSPAWN_ERR_UNSUPPORTED },
};

/* Index: the negated code. */
static const char *const code_names[] = {
    [-LIBSPAWN_OK] = "ok",
    [-LIBSPAWN_ERR_INVALID] = "invalid",
    [-LIBSPAWN_ERR_NOT_FOUND] = "not-found",
    [-LIBSPAWN_ERR_EXISTS] = "exists",
    [-LIBSPAWN_ERR_BUSY] = "busy",
    [-LIBSPAWN_ERR_DENIED] = "denied",
    [-LIBSPAWN_ERR_NO_MEMORY] = "no-memory",
    [-LIBSPAWN_ERR_LIMIT] = "limit",
    [-LIBSPAWN_ERR_TIMEOUT] = "timeout",
    [-LIBSPAWN_ERR_GONE] = "gone",
    [-LIBSPAWN_ERR_CHILD] = "child",
    [-LIBSPAWN_ERR_ABORTED] = "aborted",
    [-LIBSPAWN_ERR_CONFLICT] = "conflict",
    [-LIBSPAWN_ERR_PROTOCOL] = "protocol",
    [-LIBSPAWN_ERR_UNSUPPORTED] = "unsupported",
    [-LIBSPAWN_ERR_SYSTEM] = "system",
};

const char *
libspawn_code_name(int code)
{
    if (code > 0 || -code >= (int)ARRAY_SIZE(code_names)) {
        return "unknown";
    }
    return code_names[-code];
}

int
libspawn__code_from_errno(int sys_errno)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(code_of_errno); i++) {
        if (code_of_errno[i].sys_errno == sys_errno) {
            return code_of_errno[i].code;
        }
    }
    return LIBSPAWN_ERR_SYSTEM;
}

/* What is put into a sentence may hold anything; the sentence is shown to
 * people, on terminals. */
static void
put_text(struct libspawn_err *err, const char *format, va_list args)
{
    vsnprintf(err->text, sizeof err->text, format, args);
    libspawn__utf8_make_printable(err->text, strlen(err->text), "");
}

static void
fill(struct libspawn_err *err, int code, int sys_errno, const char *format,
     va_list args)
{
    err->code = code;
    err->sys_errno = sys_errno;
    put_text(err, format, args);
}

#ifdef __GLIBC__
const char *
libspawn__errno_text(int sys_errno)
{
    return strerror(sys_errno);
}
#else
/* Where musl has other words, for what our system calls answer. */
static const struct {
    int sys_errno;
    char text[40];
} errno_texts[] = {
    { EADDRINUSE, "Address already in use" },
    { EBUSY, "Device or resource busy" },
    { EDQUOT, "Disk quota exceeded" },
    { EIO, "Input/output error" },
    { ELOOP, "Too many levels of symbolic links" },
    { EMFILE, "Too many open files" },
    { EMSGSIZE, "Message too long" },
    { ENAMETOOLONG, "File name too long" },
    { ENOMEM, "Cannot allocate memory" },
    { ENOTCONN, "Transport endpoint is not connected" },
    { ENOTSOCK, "Socket operation on non-socket" },
    { EOPNOTSUPP, "Operation not supported" },
    { EOVERFLOW, "Value too large for defined data type" },
    { ETIMEDOUT, "Connection timed out" },
    { EUCLEAN, "Structure needs cleaning" },
    { EUSERS, "Too many users" },
    { EXDEV, "Invalid cross-device link" },
};

const char *
libspawn__errno_text(int sys_errno)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(errno_texts); i++) {
        if (errno_texts[i].sys_errno == sys_errno) {
            return errno_texts[i].text;
        }
    }
    return strerror(sys_errno);
}
#endif

int
libspawn__fail(struct libspawn_err *err, int code, const char *format, ...)
{
    va_list args;

    if (err) {
        va_start(args, format);
        fill(err, code, 0, format, args);
        va_end(args);
    }
    return code;
}

int
libspawn__fail_errno(struct libspawn_err *err, int sys_errno,
                     const char *format, ...)
{
    int code = libspawn__code_from_errno(sys_errno);
    va_list args;
    size_t len;

    if (err) {
        va_start(args, format);
        fill(err, code, sys_errno, format, args);
        va_end(args);
        len = strlen(err->text);
        snprintf(err->text + len, sizeof err->text - len, ": %s",
                 libspawn__errno_text(sys_errno));
    }
    return code;
}

int
libspawn__fail_nomem(struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_NO_MEMORY, "out of memory");
}

int
libspawn__err_prefix(struct libspawn_err *err, const char *format, ...)
{
    char old[sizeof err->text];
    va_list args;
    size_t len;

    if (!err) {
        return LIBSPAWN_ERR_SYSTEM;
    }
    memcpy(old, err->text, sizeof old);
    va_start(args, format);
    put_text(err, format, args);
    va_end(args);
    len = strlen(err->text);
    snprintf(err->text + len, sizeof err->text - len, ": %s", old);
    return err->code;
}

int
libspawn__code_exit_status(int code)
{
    return code == LIBSPAWN_ERR_BUSY || code == LIBSPAWN_ERR_CONFLICT ||
                   code == LIBSPAWN_ERR_TIMEOUT
               ? 75
               : 1;
}
