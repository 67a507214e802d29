/*
 * A doubly linked list whose links live in the elements.  An element that is
 * in no list points to itself, so removing it twice does no harm.
 */
#ifndef LIBSPAWN_BASE_LIST_H
#define LIBSPAWN_BASE_LIST_H

#include <stdbool.h>

#include "base/util.h"

struct libspawn__list {
    struct libspawn__list *prev;
    struct libspawn__list *next;
};

static inline void
libspawn__list_init(struct libspawn__list *list)
{
    list->prev = list;
    list->next = list;
}

static inline bool
libspawn__list_is_empty(const struct libspawn__list *list)
{
    return list->next == list;
}

/* Puts 'element' behind 'where'; behind the head's 'prev' is the end. */
static inline void
libspawn__list_insert(struct libspawn__list *where,
                      struct libspawn__list *element)
{
    element->prev = where;
    element->next = where->next;
    where->next->prev = element;
    where->next = element;
}

static inline void
libspawn__list_append(struct libspawn__list *list,
                      struct libspawn__list *element)
{
    libspawn__list_insert(list->prev, element);
}

static inline void
libspawn__list_remove(struct libspawn__list *element)
{
    element->prev->next = element->next;
    element->next->prev = element->prev;
    libspawn__list_init(element);
}

#define LIST_FOR_EACH(ELEMENT, LIST)                                          \
    for ((ELEMENT) = (LIST)->next; (ELEMENT) != (LIST);                       \
         (ELEMENT) = (ELEMENT)->next)

/* The same where the body may remove ELEMENT (and only that one). */
#define LIST_FOR_EACH_SAFE(ELEMENT, NEXT, LIST)                               \
    for ((ELEMENT) = (LIST)->next, (NEXT) = (ELEMENT)->next;                  \
         (ELEMENT) != (LIST); (ELEMENT) = (NEXT), (NEXT) = (ELEMENT)->next)

#endif
