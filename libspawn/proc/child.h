/*
 * A child, inside: what proc/ctx.c must know of it.
 */
#ifndef LIBSPAWN_PROC_CHILD_H
#define LIBSPAWN_PROC_CHILD_H

#include "base/list.h"

/* Cuts all children in the list off from their context, which is about to be
 * freed: what is not released is ended by its watcher.  Their owners still
 * free them. */
void libspawn__children_orphan(struct libspawn__list *children);

#endif
