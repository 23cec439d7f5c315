/* device/c/device_url.h -- where a device connects: "ws://host[:port]" or "wss://host[:port]",
 * nothing after it but one '/'. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

#define DEVICE_HOST_MAX 100 /* bytes: libwebsockets 4.1 cuts its Host line at 128 */

struct device_url {
        bool tls;
        char host[DEVICE_HOST_MAX + 1]; /* name or address, without brackets */
        char authority[DEVICE_HOST_MAX + 1 +
                       10]; /* for the Host header: brackets and port as needed */
        uint16_t port;
};

must_check enum err device_url_parse(const char *text,
                                     struct device_url *ret_url); /* ERR_INVALID */
