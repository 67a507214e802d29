#include "wire/answer.h"

#include "base/auto.h"
#include "base/clock.h"

int
libspawn__answer_init(struct libspawn__answer *answer,
                      struct libspawn_err *err)
{
    return libspawn__loop_new(&answer->loop, err);
}

void
libspawn__answer_dispose(struct libspawn__answer *answer)
{
    libspawn__loop_free(answer->loop);
    libspawn__json_free(answer->result);
}

void
libspawn__answer_expect(struct libspawn__answer *answer)
{
    answer->has_come = false;
    answer->failure.code = 0;
    libspawn__json_free(TAKE_PTR(answer->result));
}

void
libspawn__answer_on_ready(void *user)
{
    struct libspawn__answer *answer = user;

    answer->has_come = true;
}

void
libspawn__answer_on_ended(void *user, const struct libspawn_err *err)
{
    struct libspawn__answer *answer = user;

    if (!answer->has_come) {
        answer->has_come = true;
        answer->failure = *err;
    }
}

void
libspawn__answer_on_reply(void *user, const struct libspawn__json *result,
                          const struct libspawn_err *err)
{
    struct libspawn__answer *answer = user;

    answer->has_come = true;
    if (err) {
        answer->failure = *err;
    } else {
        libspawn__json_copy(result, &answer->result, &answer->failure);
    }
}

int
libspawn__answer_wait(struct libspawn__answer *answer, int64_t deadline_ms,
                      struct libspawn_err *err)
{
    int rc = 0;

    while (!rc && !answer->has_come) {
        int left_ms = libspawn__clock_left_ms(deadline_ms);

        if (!left_ms) {
            break;
        }
        rc = libspawn__loop_wait(answer->loop, left_ms, err);
    }
    return rc;
}
