#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "guest/names.h"
#include "guest/supervised.h"
#include "proc/program.h"

/* Nobody waits for its verdict, so it gets no channel; what it has to say is
 * told as events. */
int
libspawn__supervised_start(const struct libspawn_host *host, const char *name,
                           bool is_again, struct libspawn_err *err)
{
    char program[] = "guest-supervisor";
    char option[] = "--adopt";
    char again[] = "--again";
    char end[] = "--";
    AUTO_FREE char *state_dir =
        libspawn__str_format("--state-dir=%s", host->state_dir);
    AUTO_FREE char *guest = strdup(name);
    AUTO_FREE char *path = NULL;
    AUTO_FD int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    char *argv[] = { program, state_dir, is_again ? again : option,
                     end,     guest,     NULL };
    pid_t pid;
    int rc;
    int r;

    if (!state_dir || !guest) {
        return libspawn__fail_nomem(err);
    }
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '/dev/null'");
    }
    rc = libspawn__program_find(program, &path, err);
    if (rc) {
        return rc;
    }
    r = libspawn__program_spawn(path, argv, environ, fd, false, &pid);
    return r ? libspawn__program_fail(err, r, path) : 0;
}

/* Whether its supervisor died, rather than left: who leaves takes its pid file
 * along. */
static void
restore(struct libspawn_host *host, const char *name)
{
    uint32_t domid;

    if (libspawn__supervised_is(host, name)) {
        return;
    }
    if (!libspawn__name_find(host, name, &domid, NULL) &&
        libspawn__supervised_is_domain(host, domid)) {
        libspawn__supervised_start(host, name, true, NULL);
    } else {
        libspawn__supervised_tidy(host, name);
    }
}

void
libspawn__supervised_restore(struct libspawn_host *host)
{
    static const char suffix[] = ".pid";
    AUTO_FREE char *path = libspawn__supervised_dir(host);
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);

        if (len >= sizeof suffix &&
            !strcmp(entry->d_name + len - strlen(suffix), suffix)) {
            entry->d_name[len - strlen(suffix)] = '\0';
            restore(host, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
}
