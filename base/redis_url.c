/* base/redis_url.c -- decides what a Redis URL means, and says in a sentence what is wrong with one
 * that means nothing. Pure; knows nothing of connections. Strict: a part that would be ignored is
 * refused, since an ignored "?tls=1" is worse than a refused one. */
#include "base/redis.h"

#include <string.h>

#define UNIX_PATH_MAX_BYTES 106
#define DATABASE_MAX        65535

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

/* --- what may follow a ? ------------------------------------------------------------------- */

struct parameter {
        const char *name;
        char *to; /* NULL = the database's number */
        size_t size;
};

static const struct parameter *find_parameter(const struct parameter *known, const char *name,
                                              size_t len)
{
        for (; known->name != NULL; known++) {
                if (strlen(known->name) == len && memcmp(known->name, name, len) == 0)
                        return known;
        }
        return NULL;
}

/* "name=value&name=value", each name at most once. `all` names them for the sentence. */
static const char *parse_query(const char *rest, const struct parameter *known, const char *all,
                               struct redis_address *address)
{
        unsigned seen = 0;

        while (true) {
                size_t len = strcspn(rest, "&"), name_len = strcspn(rest, "=&");
                const struct parameter *parameter = find_parameter(known, rest, name_len);
                const char *value = rest + name_len + 1, *end = rest + len;

                if (parameter == NULL || name_len == len || value == end ||
                    (seen & 1u << (parameter - known)) != 0)
                        return all;
                seen |= 1u << (parameter - known);
                if (parameter->to != NULL && !decode(value, end, parameter->to, parameter->size))
                        return "a value after the ? is too long or has a bad %XX";
                if (parameter->to == NULL &&
                    !parse_number(value, end, DATABASE_MAX, &address->database))
                        return "the database, ?db=NUMBER, is a number from 0 to 65535";
                if (*end == '\0')
                        return NULL;
                rest = end + 1;
        }
}

/* --- user, password, hosts ------------------------------------------------------------------ */

static const char *parse_credentials(const char *rest, const char *at,
                                     struct redis_address *address)
{
        const char *colon = memchr(rest, ':', (size_t)(at - rest));
        const char *user_end = colon != NULL ? colon : at;
        const char *earlier = memchr(rest, '@', (size_t)(at - rest));

        /* h1 of "u:p@h1,u:p@h2" would be taken for a part of the password. */
        if (earlier != NULL && memchr(earlier, ',', (size_t)(at - earlier)) != NULL)
                return "user and password stand once, before the first host: redis://user:password@h1,h2; "
                       "in them @ is written %40";
        if (!decode(rest, user_end, address->user, sizeof(address->user)))
                return "the user is too long or has a bad %XX";
        if (colon != NULL && !decode(colon + 1, at, address->password, sizeof(address->password)))
                return "the password is too long or has a bad %XX";
        return NULL;
}

/* host, host:port, [v6], [v6]:port */
static const char *parse_host(const char *rest, const char *end, unsigned port,
                              struct redis_host *ret_host)
{
        bool bracket = *rest == '[';
        const char *host = bracket ? rest + 1 : rest;
        const char *host_end = memchr(host, bracket ? ']' : ':', (size_t)(end - host));
        const char *after;

        if (bracket && host_end == NULL)
                return "the [ of the address has no ]";
        if (host_end == NULL)
                host_end = end;
        after = bracket ? host_end + 1 : host_end;
        if (host == host_end)
                return "a host is missing: redis://host:6379";
        if (!decode(host, host_end, ret_host->host, sizeof(ret_host->host)))
                return "a host is too long or has a control character";
        if (after < end &&
            (*after != ':' || !parse_number(after + 1, end, 65535, &port) || port == 0))
                return "a port must be a number from 1 to 65535";
        ret_host->port = (uint16_t)port;
        return NULL;
}

/* [user[:password]@]host[,host..]; *ret_end is what comes behind. */
static const char *parse_authority(const char *rest, unsigned port, struct redis_address *address,
                                   const char **ret_end)
{
        size_t len = strcspn(rest, "/?#");
        const char *end = rest + len, *at = memrchr(rest, '@', len);
        const char *why = NULL;

        if (at != NULL) {
                why = parse_credentials(rest, at, address);
                rest = at + 1;
        }
        while (why == NULL) {
                const char *comma = memchr(rest, ',', (size_t)(end - rest));
                const char *host_end = comma != NULL ? comma : end;

                if (address->n_hosts == REDIS_HOSTS_MAX)
                        return "there may be at most 16 hosts";
                why = parse_host(rest, host_end, port, &address->hosts[address->n_hosts++]);
                if (comma == NULL)
                        break;
                rest = comma + 1;
        }
        *ret_end = end;
        return why;
}

/* --- the four schemes ----------------------------------------------------------------------- */

static const char *parse_unix(const char *rest, struct redis_address *address)
{
        const struct parameter known[] = { { .name = "db" }, { 0 } };
        const char *end = rest + strcspn(rest, "?");

        address->scheme = REDIS_UNIX;
        if (*rest != '/')
                return "a unix URL needs an absolute path: unix:///run/redis/redis.sock";
        if (end - rest > UNIX_PATH_MAX_BYTES)
                return "the path of a unix socket may have at most 106 bytes";
        if (!decode(rest, end, address->path, sizeof(address->path)))
                return "the path has a bad %XX or a control character";
        if (*end == '\0')
                return NULL;
        return parse_query(end + 1, known, "after the path only ?db=NUMBER may follow", address);
}

/* /NUMBER, or nothing; *ret_end is what comes behind. */
static const char *parse_database(const char *rest, struct redis_address *address,
                                  const char **ret_end)
{
        const char *end = rest + strcspn(rest, "?");

        *ret_end = end;
        if (rest == end || (*rest == '/' && rest + 1 == end))
                return NULL;
        if (*rest != '/' || !parse_number(rest + 1, end, DATABASE_MAX, &address->database))
                return "after the host only /NUMBER, the database, may follow";
        return NULL;
}

static const char *parse_tcp(const char *rest, struct redis_address *address)
{
        const char *end, *why = parse_authority(rest, 6379, address, &end);

        address->scheme = REDIS_TCP;
        if (why == NULL)
                why = parse_database(end, address, &end);
        if (why == NULL && *end == '?')
                why = "redis:// takes nothing after a ?: the database is /NUMBER, TLS is rediss://";
        return why;
}

static const char *parse_tls(const char *rest, struct redis_address *address)
{
        const struct parameter known[] = { { "ca", address->ca_file, sizeof(address->ca_file) },
                                           { "cert", address->cert_file,
                                             sizeof(address->cert_file) },
                                           { "key", address->key_file, sizeof(address->key_file) },
                                           { 0 } };
        const char *end, *why = parse_authority(rest, 6379, address, &end);

        address->scheme = REDIS_TCP;
        address->tls = true;
        if (why == NULL)
                why = parse_database(end, address, &end);
        if (why == NULL && *end == '?')
                why = parse_query(end + 1, known,
                                  "rediss:// takes ?ca=FILE&cert=FILE&key=FILE, each at most once",
                                  address);
        if (why == NULL && address->key_file[0] != '\0' && address->cert_file[0] == '\0')
                why = "?key=FILE needs the certificate that it belongs to: &cert=FILE";
        return why;
}

static const char *parse_sentinel(const char *rest, struct redis_address *address)
{
        const struct parameter known[] = { { .name = "db" },
                                           { "sentinel_password", address->sentinel_password,
                                             sizeof(address->sentinel_password) },
                                           { 0 } };
        const char *end, *name_end, *why = parse_authority(rest, 26379, address, &end);

        address->scheme = REDIS_SENTINEL;
        if (why != NULL)
                return why;
        name_end = end + strcspn(end, "?");
        if (*end != '/' || end + 1 == name_end)
                return "the name that the sentinels know the primary by is missing: "
                       "sentinel://host:26379/NAME";
        if (memchr(end + 1, '/', (size_t)(name_end - end - 1)) != NULL ||
            !decode(end + 1, name_end, address->primary, sizeof(address->primary)))
                return "the primary's name has more than 63 bytes, a /, or a bad %XX";
        if (*name_end == '\0')
                return NULL;
        return parse_query(
            name_end + 1, known,
            "after the name only ?db=NUMBER&sentinel_password=PASSWORD may follow, each "
            "at most once",
            address);
}

enum err redis_parse_url(const char *url, struct redis_address *ret_address, const char **ret_why)
{
        static const struct {
                const char *prefix;
                const char *(*parse)(const char *rest, struct redis_address *address);
        } schemes[] = { { "redis://", parse_tcp },
                        { "rediss://", parse_tls },
                        { "unix://", parse_unix },
                        { "sentinel://", parse_sentinel } };
        struct redis_address address = { 0 };
        const char *why = "a Redis URL starts with redis://, rediss://, sentinel:// or unix://";

        if (strlen(url) > REDIS_URL_MAX) {
                *ret_why = "the URL is longer than 2048 bytes";
                return ERR_INVALID;
        }
        for (size_t i = 0; i < countof(schemes); i++) {
                size_t len = strlen(schemes[i].prefix);

                if (strncmp(url, schemes[i].prefix, len) == 0)
                        why = schemes[i].parse(url + len, &address);
        }
        if (why != NULL) {
                *ret_why = why;
                return ERR_INVALID;
        }
        *ret_address = address;
        return OK;
}
