/* gateway/address_counts.h -- how many handshakes and sessions each address has at one worker: a
 * table of counts, open addressing, nothing per connection. An address that has neither takes no
 * room, so the table is never larger than the sockets that are counted at the moment. The hash is
 * keyed: nobody can choose addresses that collide. One worker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

enum address_count { ADDRESS_HANDSHAKES, ADDRESS_SESSIONS, ADDRESS_COUNTS };

struct address_counts {
        struct address_row {  /* 16 bytes */
                uint64_t key; /* ADDRESS_NOBODY = free */
                uint32_t count[ADDRESS_COUNTS];
        } * rows;
        uint32_t size; /* rows; a power of two, or 0 before the first */
        uint32_t used; /* at most three quarters of it, or a search would be long */
        uint64_t secret;
};

void address_counts_init(struct address_counts *counts, uint64_t secret);
void address_counts_fini(struct address_counts *counts);
/* `key` is never ADDRESS_NOBODY. False = no memory for another address: nothing was counted. */
must_check bool address_counts_add(struct address_counts *counts, uint64_t key,
                                   enum address_count which);
void address_counts_take(struct address_counts *counts, uint64_t key, enum address_count which);
uint32_t address_counts_get(const struct address_counts *counts, uint64_t key,
                            enum address_count which);
