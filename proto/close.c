/* proto/close.c -- the table of close reasons in memory, and which codes a peer may send us. */
#include "proto/close.h"

/* The short names. A reason added to CLOSE_REASONS without one does not compile. */
#define SHORT_CLOSE_NORMAL    "normal"
#define SHORT_CLOSE_GOING     "going"
#define SHORT_CLOSE_PROTOCOL  "protocol"
#define SHORT_CLOSE_DATA_TYPE "data-type"
#define SHORT_CLOSE_BAD_DATA  "bad-data"
#define SHORT_CLOSE_POLICY    "policy"
#define SHORT_CLOSE_TOO_BIG   "too-big"
#define SHORT_CLOSE_INTERNAL  "internal"
#define SHORT_CLOSE_DRAIN     "drain"
#define SHORT_CLOSE_OVERLOAD  "overload"
#define SHORT_CLOSE_EXPIRED   "expired"
#define SHORT_CLOSE_TOO_SLOW  "too-slow"
#define SHORT_CLOSE_REPLACED  "replaced"
#define SHORT_CLOSE_IDLE      "idle"
#define SHORT_CLOSE_GONE      "gone"

const struct close_row close_table[CLOSE_KINDS] = {
#define X(name, code, error, text) [name] = { SHORT_##name, code, error, text },
        CLOSE_REASONS(X)
#undef X
};

/* 1004 is reserved; 1005, 1006 and 1015 are what an endpoint reports to itself and never sends;
 * 1012 to 1014 came into the IANA registry after the RFC. 3000-4999 belong to libraries and
 * applications. */
bool close_code_is_valid(uint16_t code)
{
        if (code >= 3000 && code <= 4999)
                return true;
        return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}
