/*
 * Whose rights a device model runs with: the order of users, and that a user
 * id out of a range belongs to one guest.
 */
#include "dm/restrict.h"

#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/lib/harness.h"

enum {
    DOMID = 77
};

static struct libspawn_guest_config config = { .dm_restrict =
                                                   LIBSPAWN_CHOICE_YES };

static struct libspawn__restrict_owner
owner_of(const char *place, const char *uuid)
{
    return (struct libspawn__restrict_owner){ .place = place,
                                              .domid = DOMID,
                                              .uuid = uuid };
}

static struct libspawn__restrict
choose(const struct libspawn__restrict_owner *owner)
{
    struct libspawn__restrict restricted;
    AUTO_FREE char *warning = NULL;
    struct libspawn_err err;

    assert_ok(
        libspawn__restrict_choose(&config, owner, &restricted, &warning, &err),
        &err);
    ck_assert_ptr_null(warning);
    return restricted;
}

static void
release(const struct libspawn__restrict_owner *owner, uint32_t uid)
{
    struct libspawn_err err;

    assert_ok(libspawn__restrict_release(owner, uid, &err), &err);
}

static bool
is_reserved(uint32_t uid)
{
    AUTO_FREE char *path =
        libspawn__str_format(LIBSPAWN__RESTRICT_DIR "/%u", (unsigned int)uid);

    return access(path, F_OK) == 0;
}

static const char *
why_not(void)
{
    if (geteuid() != 0) {
        return "only root can change the user";
    }
    return getpwnam(LIBSPAWN__RESTRICT_RANGE_USER) ||
                   getpwnam(LIBSPAWN__RESTRICT_SHARED_USER)
               ? "users for device models are set up here"
               : NULL;
}

TEST(user_of_one_number_in_two_places__is_not_the_same)
{
    AUTO_FREE char *place = libspawn__str_format("%s/b", harness_dir());
    struct libspawn__restrict_owner a = owner_of(harness_dir(), "uuid-a");
    struct libspawn__restrict_owner b = owner_of(place, "uuid-b");
    struct libspawn__restrict first = choose(&a);
    struct libspawn__restrict second = choose(&b);

    ck_assert(first.has_user && first.is_own && first.is_on);
    ck_assert_uint_ne(first.uid, second.uid);
    ck_assert_uint_eq(first.gid, first.uid);
    release(&a, first.uid);
    release(&b, second.uid);
    ck_assert(!is_reserved(first.uid));
    ck_assert(!is_reserved(second.uid));
}

TEST(release_by_another_guest__ends_nothing)
{
    struct libspawn__restrict_owner a = owner_of(harness_dir(), "uuid-a");
    struct libspawn__restrict_owner later = owner_of(harness_dir(), "uuid-b");
    struct libspawn__restrict restricted = choose(&a);
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (!pid) {
        if (setresuid(restricted.uid, restricted.uid, restricted.uid) == 0) {
            pause();
        }
        _exit(1);
    }
    release(&later, restricted.uid);
    ck_assert(is_reserved(restricted.uid));
    ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    release(&a, restricted.uid);
}

TEST(release_of_what_was_released__is_fine)
{
    struct libspawn__restrict_owner a = owner_of(harness_dir(), "uuid-a");
    struct libspawn__restrict restricted = choose(&a);

    release(&a, restricted.uid);
    release(&a, restricted.uid);
}

/* Whoever removed the guest did not know of the user. */
TEST(user_of_a_gone_guest_of_that_number__is_taken_over)
{
    struct libspawn__restrict_owner gone = owner_of(harness_dir(), "uuid-a");
    struct libspawn__restrict_owner next = owner_of(harness_dir(), "uuid-b");
    struct libspawn__restrict first = choose(&gone);
    struct libspawn__restrict second = choose(&next);

    ck_assert_uint_eq(first.uid, second.uid);
    release(&gone, first.uid);
    ck_assert(is_reserved(first.uid));
    release(&next, first.uid);
    ck_assert(!is_reserved(first.uid));
}

TEST(user_without_dm_restrict__is_the_caller)
{
    struct libspawn__restrict_owner a = owner_of(harness_dir(), "uuid-a");
    struct libspawn__restrict restricted;

    config.dm_restrict = LIBSPAWN_CHOICE_DEFAULT;
    restricted = choose(&a);
    ck_assert(!restricted.is_on && !restricted.has_user);
}

TEST_MAIN_UNLESS("restrict", why_not)
