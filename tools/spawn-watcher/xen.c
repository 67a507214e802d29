/*
 * What makes spawn-watcher into spawn-watcher-xen: a record in xenstore.
 */
#include "store/provider.h"

static void __attribute__((constructor)) register_xenstore(void)
{
    libspawn__store_register(&libspawn__store_xenstore_class);
}
