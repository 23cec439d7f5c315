/* base/redis_url.c -- decides what a Redis URL means, and says in a sentence what is wrong with one
 * that means nothing. Pure; knows nothing of connections. Strict: a part that would be ignored is
 * refused, since an ignored "?tls=1" is worse than a refused one. */
#include "base/redis.h"

#include <string.h>

#define UNIX_PATH_MAX_BYTES 106 /* hiredis 0.14 leaves the last byte of sun_path[108] unset */

/* Decodes %XX (RFC 3986, 2.1). A NUL inside would cut the text short, so it is refused. */
static bool decode(const char *from, const char *end, char *to, size_t size)
{
        size_t len = 0;

        while (from < end) {
                int c = (unsigned char)*from++;

                if (c == '%') {
                        c = 0;
                        for (int i = 0; i < 2; i++, from++) {
                                static const char digits[] = "0123456789abcdef";
                                const char *at;

                                if (from >= end || *from == '\0')
                                        return false;
                                at = strchr(digits,
                                            *from >= 'A' && *from <= 'F' ? *from | 0x20 : *from);
                                if (at == NULL)
                                        return false;
                                c = c * 16 + (int)(at - digits);
                        }
                }
                if (c < 0x20 || c == 0x7f || len + 1 >= size)
                        return false;
                to[len++] = (char)c;
        }
        to[len] = '\0';
        return true;
}

static bool parse_number(const char *from, const char *end, unsigned max, unsigned *ret_number)
{
        unsigned number = 0;

        if (from == end || end - from > 5)
                return false;
        for (; from < end; from++) {
                if (*from < '0' || *from > '9')
                        return false;
                number = number * 10 + (unsigned)(*from - '0');
        }
        if (number > max)
                return false;
        *ret_number = number;
        return true;
}

static const char *parse_unix(const char *rest, struct redis_address *address)
{
        const char *end = strchr(rest, '?');
        const char *path_end = end != NULL ? end : rest + strlen(rest);

        if (*rest != '/')
                return "a unix URL needs an absolute path: unix:///run/redis/redis.sock";
        if (path_end - rest > UNIX_PATH_MAX_BYTES)
                return "the path of a unix socket may have at most 106 bytes";
        if (!decode(rest, path_end, address->path, sizeof(address->path)))
                return "the path has a bad %XX or a control character";
        if (end == NULL)
                return NULL;
        if (strncmp(end, "?db=", 4) != 0 ||
            !parse_number(end + 4, end + strlen(end), 65535, &address->database))
                return "after the path only ?db=NUMBER may follow";
        return NULL;
}

static const char *parse_credentials(const char *rest, const char *at,
                                     struct redis_address *address)
{
        const char *colon = memchr(rest, ':', (size_t)(at - rest));
        const char *user_end = colon != NULL ? colon : at;

        if (!decode(rest, user_end, address->user, sizeof(address->user)))
                return "the user is too long or has a bad %XX";
        if (colon != NULL && !decode(colon + 1, at, address->password, sizeof(address->password)))
                return "the password is too long or has a bad %XX";
        return NULL;
}

/* host, host:port, [v6], [v6]:port */
static const char *parse_host(const char *rest, const char *end, struct redis_address *address)
{
        bool bracket = *rest == '[';
        const char *host = bracket ? rest + 1 : rest;
        const char *host_end = memchr(host, bracket ? ']' : ':', (size_t)(end - host));
        const char *after;
        unsigned port = 6379;

        if (bracket && host_end == NULL)
                return "the [ of the address has no ]";
        if (host_end == NULL)
                host_end = end;
        after = bracket ? host_end + 1 : host_end;
        if (host == host_end)
                return "the host is missing: redis://host:6379";
        if (!decode(host, host_end, address->hosts[0].host, sizeof(address->hosts[0].host)))
                return "the host is too long or has a control character";
        if (after < end &&
            (*after != ':' || !parse_number(after + 1, end, 65535, &port) || port == 0))
                return "the port must be a number from 1 to 65535";
        address->hosts[0].port = (uint16_t)port;
        address->n_hosts = 1;
        return NULL;
}

static const char *parse_tcp(const char *rest, struct redis_address *address)
{
        size_t authority_len = strcspn(rest, "/?#");
        const char *end = rest + authority_len;
        const char *at = memrchr(rest, '@', authority_len);
        const char *why = NULL;

        if (at != NULL) {
                why = parse_credentials(rest, at, address);
                rest = at + 1;
        }
        if (why == NULL)
                why = parse_host(rest, end, address);
        if (why != NULL || *end == '\0' || strcmp(end, "/") == 0)
                return why;
        if (*end != '/' || !parse_number(end + 1, end + strlen(end), 65535, &address->database))
                return "after the host only /NUMBER, the database, may follow";
        return NULL;
}

enum err redis_parse_url(const char *url, struct redis_address *ret_address, const char **ret_why)
{
        struct redis_address address = { 0 };
        const char *why;

        if (strlen(url) > REDIS_URL_MAX) {
                why = "the URL is longer than 2048 bytes";
        } else if (strncmp(url, "redis://", 8) == 0) {
                address.scheme = REDIS_TCP;
                why = parse_tcp(url + 8, &address);
        } else if (strncmp(url, "unix://", 7) == 0) {
                address.scheme = REDIS_UNIX;
                why = parse_unix(url + 7, &address);
        } else if (strncmp(url, "rediss://", 9) == 0) {
                *ret_why = "TLS to Redis (rediss://) is not in this build; put stunnel or a proxy "
                           "between, or use redis://";
                return ERR_INVALID;
        } else if (strncmp(url, "sentinel://", 11) == 0) {
                *ret_why =
                    "sentinel:// is not in this build; give the primary as redis://host:port";
                return ERR_INVALID;
        } else {
                why = "a Redis URL starts with redis:// or unix://";
        }
        if (why != NULL) {
                *ret_why = why;
                return ERR_INVALID;
        }
        *ret_address = address;
        return OK;
}
