/* device/c/device_url.c -- see device_url.h. */
#include "device/c/device_url.h"

#include <stdio.h>
#include <string.h>

static bool parse_port(const char *text, size_t len, uint16_t *ret_port)
{
        unsigned port = 0;

        if (len == 0 || len > 5)
                return false;
        for (size_t i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return false;
                port = port * 10 + (unsigned)(text[i] - '0');
        }
        if (port == 0 || port > 65535)
                return false;
        *ret_port = (uint16_t)port;
        return true;
}

static bool is_host(const char *host, size_t len, bool bracketed)
{
        if (len == 0 || len > DEVICE_HOST_MAX)
                return false;
        for (size_t i = 0; i < len; i++) {
                char c = host[i];
                bool name = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';

                if (!name && !(bracketed && (c == ':' || c == '%')))
                        return false;
        }
        return true;
}

enum err device_url_parse(const char *text, struct device_url *ret_url)
{
        struct device_url url = { .port = 80 };
        const char *host, *rest;
        size_t len;

        if (strncmp(text, "wss://", 6) == 0)
                url = (struct device_url){ .tls = true, .port = 443 };
        else if (strncmp(text, "ws://", 5) != 0)
                return ERR_INVALID;
        host = text + (url.tls ? 6 : 5);

        bool bracketed = *host == '[';

        if (bracketed) {
                len = strcspn(++host, "]");
                if (host[len] != ']')
                        return ERR_INVALID;
                rest = host + len + 1;
        } else {
                len = strcspn(host, ":/");
                rest = host + len;
        }
        if (!is_host(host, len, bracketed))
                return ERR_INVALID;

        size_t port_len = *rest == ':' ? strcspn(rest + 1, "/") : 0;

        if (*rest == ':') {
                if (!parse_port(rest + 1, port_len, &url.port))
                        return ERR_INVALID;
                rest += 1 + port_len;
        }
        if (strcmp(rest, "") != 0 && strcmp(rest, "/") != 0)
                return ERR_INVALID;
        memcpy(url.host, host, len);
        snprintf(url.authority, sizeof(url.authority), bracketed ? "[%s]:%u" : "%s:%u", url.host,
                 (unsigned)url.port);
        *ret_url = url;
        return OK;
}
