#include "guest/plugin.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

/* As seen from the program's own directory, where that is not absolute:
 * build/bin has build/lib beside it, an installed BINDIR has LIBDIR.  A
 * program that only links the library may be anywhere; for it there is the
 * last. */
static const char *const directories[] = {
    "../lib",
    "../lib/libspawn",
    LIBSPAWN_PLUGINDIR,
};

/* The directory of this program; "" when that cannot be found out. */
static void
find_own_directory(char *path, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", path, size - 1);
    char *slash;

    path[MAX(len, 0)] = '\0';
    slash = strrchr(path, '/');
    if (slash) {
        *slash = '\0';
    }
}

/* RTLD_LAZY leaves it to each library when its symbols are looked up: those of
 * Xen need many libraries of which a command calls little.  The plugins
 * themselves are linked with "-z now", so one that lacks a symbol of its own
 * is still refused here.  RTLD_NODELETE, because unmapping all of that is work
 * for nothing at the end of a short program. */
static int
load(const char *path, void **handle_r, struct libspawn_err *err)
{
    void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);

    if (!handle) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "loading '%s': %s", path, dlerror());
    }
    *handle_r = handle;
    return 0;
}

int
libspawn__plugin_open(const char *file, void **handle_r,
                      struct libspawn_err *err)
{
    char own[4096];
    size_t i;

    find_own_directory(own, sizeof own);
    for (i = 0; i < ARRAY_SIZE(directories); i++) {
        bool is_absolute = directories[i][0] == '/';
        AUTO_FREE char *path =
            libspawn__str_format("%s%s%s/%s", is_absolute ? "" : own,
                                 is_absolute ? "" : "/", directories[i], file);

        if (!path) {
            return libspawn__fail_nomem(err);
        }
        if (access(path, R_OK) == 0) {
            return load(path, handle_r, err);
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "'%s' is not installed, neither beside this program "
                          "nor in '%s'",
                          file, LIBSPAWN_PLUGINDIR);
}
