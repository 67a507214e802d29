#include "guest/plugin.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

/* As seen from the program's own directory: build/bin has build/lib beside
 * it, an installed BINDIR has LIBDIR. */
static const char *const directories[] = { "../lib", "../lib/libspawn" };

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

int
libspawn__plugin_open(const char *file, void **handle_r,
                      struct libspawn_err *err)
{
    char own[4096];
    size_t i;

    find_own_directory(own, sizeof own);
    for (i = 0; i < ARRAY_SIZE(directories); i++) {
        AUTO_FREE char *path =
            libspawn__str_format("%s/%s/%s", own, directories[i], file);

        if (!path) {
            return libspawn__fail_nomem(err);
        }
        if (access(path, R_OK) == 0) {
            /* The plugin itself is linked to be bound at once; its
             * libraries' hundreds of symbols are looked up when used. */
            *handle_r = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
            return *handle_r
                       ? 0
                       : libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                                        "loading '%s': %s", path, dlerror());
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "'%s' is not installed", file);
}
