/* gateway/admission.h -- who may come in, and how fast: decides from counts and the time it is
 * told. Pure: no I/O, no clock, and no memory but the table of addresses. One per worker; its
 * thread only. guest.c and entrance.c act on it.
 *
 * Four questions:
 * - Who waits too long? Whoever is let in soon is never asked: a request that comes with its
 *   connection does not stand in line at all. The line is bounded: when it is full, the oldest who
 *   has said nothing goes, so that any number of silent sockets costs the others nothing. Nobody
 *   goes within a grace after coming, for a rush of slow speakers is no attack: then the others
 *   stay with the kernel until there is room. Whoever stands in line is linked through memory that
 *   a session uses later: it costs a connection nothing.
 * - Who has too much? One address that has more than half of a full line loses its own oldest
 *   first; and it may have `per_address` sessions.
 * - May this one come in? A token bucket, whose last quarter is for devices that resume.
 * - And when not, when? A refused device is given a turn: one 1/rate after the one refused before
 *   it, `rate` being what was measured to be admitted per second. So a refused herd comes back as a
 *   ramp as fast as this worker is, and nothing is kept per device (the virtual scheduling of GCRA,
 *   ITU-T I.371, without the policing). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/rng.h"
#include "gateway/address_counts.h"

#define ADMISSION_GRACE_MS      1000  /* nobody is sent off sooner */
#define ADMISSION_LOOK          64    /* in line, for somebody of the same address */
#define ADMISSION_WAIT_MIN_MS   1000  /* a refused device's turn is at least so far off ... */
#define ADMISSION_WAIT_MAX_MS   30000 /* ... and at most so far; it is told up to twice that */
#define ADMISSION_ADDRESS_MS    30000 /* the same for an address that has too many sessions */
#define ADMISSION_PREFETCH_MS   5000  /* the same for a bundle that is not handed out now */
#define ADMISSION_RATE_AT_FIRST 1000  /* per second, until something was measured */
#define ADMISSION_RATE_MIN      50    /* is never believed to be less */

struct admission_limits {
        uint32_t handshakes;  /* in line at most; > 0 */
        uint32_t per_address; /* sessions of one address; 0 = any number */
        uint32_t rate;        /* upgrades per second; 0 = as many as come: they are only measured */
        uint32_t grace_ms;    /* 0 = ADMISSION_GRACE_MS */
};

/* A node's limits divided among its workers, who share nothing. The kernel spreads an address's
 * connections by chance, so each worker allows three standard deviations more than its share: who
 * keeps to the node's limit is not refused, and with one worker the limit is exact. 0 stays 0. */
struct admission_limits admission_share(const struct admission_limits *node, unsigned workers);
#define ADMISSION_HANDSHAKES_MIN 16 /* of one worker */

enum admission_line {
        ADMISSION_NOWHERE,
        ADMISSION_SILENT, /* has sent nothing since it came, or since its last request */
        ADMISSION_BEGUN,  /* has sent a part of a request */
        ADMISSION_LINES
};

struct admission_guest { /* zero-filled: in no line */
        struct admission_guest *older, *newer;
        uint64_t key;    /* of its address (address.h); the caller's, but not while it is in line */
        uint64_t number; /* rising: who came before whom */
        uint64_t since_ms; /* stands in line */
        uint8_t line;      /* enum admission_line */
        bool is_counted;
};

struct admission {
        struct admission_limits limits;
        struct address_counts counts;
        struct {
                struct admission_guest *oldest, *newest;
                uint32_t n;
        } lines[ADMISSION_LINES];
        uint64_t next_number;
        /* the bucket */
        uint64_t tokens; /* thousandths */
        uint64_t filled_ms;
        /* the measuring */
        uint64_t second_ms;         /* when the present second began */
        uint32_t admitted, refused; /* in it */
        uint32_t measured;          /* per second; refused devices are told by it */
        uint64_t turn_us;           /* of the device that was refused last */
};

void admission_init(struct admission *admission, const struct admission_limits *limits,
                    uint64_t secret, uint64_t now_ms);
void admission_fini(struct admission *admission); /* who stands in line is forgotten */

/* --- the line: those of whom a request is awaited */

/* Into `line`, or from one to the other. Who was in the same already keeps its place. */
void admission_wait(struct admission *admission, struct admission_guest *guest,
                    enum admission_line line, uint64_t now_ms);
void admission_leave(struct admission *admission,
                     struct admission_guest *guest); /* NOWHERE is fine */
/* Who must go now that `newcomer` has come; NULL = nobody, or nobody yet. Ask again when that one
 * has left. */
struct admission_guest *admission_surplus(const struct admission *admission,
                                          const struct admission_guest *newcomer, uint64_t now_ms);
/* How many may come before it is asked again. 0: those in line have yet to speak or to go. When it
 * is time for the oldest to go, a few: the line may be longer by them until they are gone. */
uint32_t admission_room(const struct admission *admission, uint64_t now_ms);
/* Who would go next if there was no room for whatever reason, grace or not; NULL = nobody is in
 * line. */
struct admission_guest *admission_oldest(const struct admission *admission);

/* --- coming in */

enum admission_answer {
        ADMISSION_YES,      /* counted; admission_exit() when it is over, or did not come to be */
        ADMISSION_TOO_FAST, /* no token */
        ADMISSION_TOO_MANY, /* of this address */
        ADMISSION_NO_MEMORY /* to count this address */
};

/* A device is about to be let in; `resumes`: with a token that is worth something. A `key` of
 * ADDRESS_NOBODY is not limited by address. */
must_check enum admission_answer admission_enter(struct admission *admission, uint64_t key,
                                                 bool resumes, uint64_t now_ms);
void admission_exit(struct admission *admission, uint64_t key);

/* --- coming back */

enum admission_refusal { REFUSED_BUSY, REFUSED_ADDRESS, REFUSED_PREFETCH };

struct admission_span {          /* when to come back, at random within it; from now */
        uint32_t min_ms, max_ms; /* max is twice min; 1 s to 60 s */
};

/* Somebody is refused. REFUSED_BUSY gives it a turn; the others have a span that does not depend on
 * how many there are, for an address that has too many, or a fetcher, must not push back the
 * devices' turns. */
struct admission_span admission_refuse(struct admission *admission, enum admission_refusal refusal,
                                       uint64_t now_ms);
/* A moment of the span in whole seconds, as Retry-After counts, rounded at random. */
unsigned admission_retry_s(const struct admission_span *span, struct rng *rng);
uint32_t admission_rate(const struct admission *admission); /* measured, per second */
