/* tests/gateway/session_fixture.h -- sessions for the tests of session.h, which are several files.
 */
#pragma once

#include "gateway/session.h"
#include "tests/gateway/log_fixture.h"

static const struct session_config config = { .ping_ms = 50000, .lifetime_ms = 1800000 };

static inline struct session_action join_at(struct session *session, const struct ring *ring,
                                            const struct token *since, uint32_t now_ms)
{
        memset(session, 0, sizeof(*session));
        return session_join(session, &config, ring, since, false, now_ms, 0);
}

static inline struct session live_session(const struct ring *ring)
{
        struct token head = *ring_head(ring);
        struct session session;

        cr_assert(eq(int, join_at(&session, ring, &head, 0).what, DO_HELLO));
        return session;
}
