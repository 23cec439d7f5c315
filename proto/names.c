/* proto/names.c -- the one alphabet of ids. Chosen so that an id needs no escaping in a URL path, a
 * Redis key, a log line or a JSON text; ':' and '~' are in it because device ids in the wild carry
 * them. */
#include "proto/names.h"

static bool is_name_char(unsigned char c)
{
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
                return true;
        return c == '.' || c == '_' || c == ':' || c == '~' || c == '-';
}

bool name_is_valid(const char *text, size_t len, size_t max)
{
        if (len == 0 || len > max)
                return false;
        for (size_t i = 0; i < len; i++) {
                if (!is_name_char((unsigned char)text[i]))
                        return false;
        }
        return true;
}
