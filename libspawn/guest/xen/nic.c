/*
 * Sources: xl-network-configuration(5); xen/include/public/io/netif.h.
 */
#include "guest/xen/nic.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "guest/xen/device.h"
#include "guest/xen/xen.h"

enum {
    DEFAULT_MTU = 1492
};

/* FNV-1a: spreads the few random bits of a uuid well enough. */
static uint32_t
hash(const char *text, uint32_t index)
{
    uint32_t sum = 2166136261u;

    for (; *text; text++) {
        sum = (sum ^ (unsigned char)*text) * 16777619u;
    }
    return (sum ^ index) * 16777619u;
}

void
libspawn__xen_nic_mac(const struct libspawn_nic *nic, const char *uuid,
                      uint32_t index, char mac[static LIBSPAWN__XEN_MAC_SIZE])
{
    uint32_t bits = hash(uuid, index);

    if (nic->mac) {
        snprintf(mac, LIBSPAWN__XEN_MAC_SIZE, "%s", nic->mac);
        return;
    }
    /* 00:16:3e is Xen's; its upper half belongs to others. */
    snprintf(mac, LIBSPAWN__XEN_MAC_SIZE, "00:16:3e:%02x:%02x:%02x",
             (bits >> 16) & 0x7f, (bits >> 8) & 0xff, bits & 0xff);
}

bool
libspawn__xen_nic_is_emulated(const struct libspawn_nic *nic, bool is_hvm)
{
    return is_hvm && !libspawn__str_equal(nic->type, "vif");
}

bool
libspawn__xen_nic_has_backend(const struct libspawn_nic *nic)
{
    return nic->net != LIBSPAWN_NIC_NET_USER;
}

void
libspawn__xen_nic_interface(uint32_t domid, uint32_t index, bool is_emulated,
                            char name[static LIBSPAWN__XEN_INTERFACE_SIZE])
{
    snprintf(name, LIBSPAWN__XEN_INTERFACE_SIZE,
             "vif%" PRIu32 ".%" PRIu32 "%s", domid, index,
             is_emulated ? "-emu" : "");
}

const char *
libspawn__xen_nic_bridge(const struct libspawn_nic *nic)
{
    return nic->bridge ? nic->bridge : "xenbr0";
}

static void
describe_back(struct libspawn__xen_device *device,
              const struct libspawn_nic *nic, const char *mac, bool is_hvm)
{
    struct libspawn__strv *back = &device->back;
    const char *script = nic->script ? nic->script : "vif-bridge";

    libspawn__xen_device_add(device, back, "frontend-id", "%" PRIu32,
                             device->domid);
    libspawn__xen_device_add(device, back, "online", "1");
    libspawn__xen_device_add(device, back, "state", "%d",
                             LIBSPAWN__XEN_DEVICE_INITIALISING);
    libspawn__xen_device_add(
        device, back, "script", "%s%s",
        script[0] == '/' ? "" : LIBSPAWN__XEN_SCRIPT_DIR "/", script);
    if (nic->vifname) {
        libspawn__xen_device_add(device, back, "vifname", "%s", nic->vifname);
    }
    libspawn__xen_device_add(device, back, "mac", "%s", mac);
    if (nic->ip) {
        libspawn__xen_device_add(device, back, "ip", "%s", nic->ip);
    }
    libspawn__xen_device_add(device, back, "bridge", "%s",
                             libspawn__xen_nic_bridge(nic));
    libspawn__xen_device_add(device, back, "handle", "%" PRIu32,
                             device->devid);
    libspawn__xen_device_add(
        device, back, "type",
        libspawn__xen_nic_is_emulated(nic, is_hvm) ? "vif_ioemu" : "vif");
    /* The backend connects only when the script has filled this. */
    libspawn__xen_device_add(device, back, "hotplug-status", "%s", "");
}

void
libspawn__xen_nic_write(struct libspawn__tree *tree,
                        const struct libspawn_nic *nic, uint32_t index,
                        const char *uuid, bool is_hvm)
{
    AUTO_XEN_DEVICE struct libspawn__xen_device device = {
        .domid = tree->domid,
        .kind = "vif",
        .backend_kind = "vif",
        .devid = index,
    };
    char mac[LIBSPAWN__XEN_MAC_SIZE];

    libspawn__xen_nic_mac(nic, uuid, index, mac);
    describe_back(&device, nic, mac, is_hvm);
    libspawn__xen_device_add(&device, &device.front, "backend-id", "0");
    libspawn__xen_device_add(&device, &device.front, "state", "%d",
                             LIBSPAWN__XEN_DEVICE_INITIALISING);
    libspawn__xen_device_add(&device, &device.front, "handle", "%" PRIu32,
                             index);
    libspawn__xen_device_add(&device, &device.front, "mac", "%s", mac);
    libspawn__xen_device_add(&device, &device.front, "trusted", "1");
    libspawn__xen_device_add(&device, &device.front_fixed, "mtu", "%d",
                             DEFAULT_MTU);
    libspawn__xen_device_write(tree, &device);
}
