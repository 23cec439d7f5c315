/* gateway/ladder.c -- the watermarks, and when a step is taken back. Refuses to know how gauges are
 * read and what is done about a step.
 *
 * Steps are taken at once, for what arrives meanwhile makes it worse; they are given back slowly,
 * one by one, since what was shed comes back (Retry-After) and may be too much again. */
#include "gateway/ladder.h"

#include "base/check.h"

const char *const ladder_step_name[LADDER_STEPS] = {
        [LADDER_CALM] = "calm",
        [LADDER_NO_PREFETCH] = "no-prefetch",
        [LADDER_NO_NEWCOMERS] = "no-newcomers",
        [LADDER_NO_RESUMES] = "no-resumes",
};

const char *const ladder_gauge_name[LADDER_GAUGES] = {
        [LADDER_LAG] = "lag",
        [LADDER_MEMORY] = "memory",
        [LADDER_DESCRIPTORS] = "descriptors",
};

/* Lag. 100 ms: a screen that switches so late is seen to be late, and prefetch is what can wait.
 * 250 ms: a handshake passes through the loop three times (accept, head, frames) and would take
 * most of a second. 500 ms: signals to those who are here take half of the second they have. */
#define LAG_MARKS                                                                                  \
        {                                                                                          \
                [LADDER_NO_PREFETCH] = 100, [LADDER_NO_NEWCOMERS] = 250, [LADDER_NO_RESUMES] = 500 \
        }
#define LAG_MARGIN 100 /* per mille of the mark */

/* Memory, per mille. Beyond the limit the kernel ends the process, and with it everybody's session.
 * A connect storm of 1,000 devices takes half a MiB of ours and 5 MiB of the kernel's, so a tenth
 * is time enough in a node of the smallest size (256 MiB); the last twentieth is for a broadcast's
 * send buffers. */
#define MEMORY_MARKS                                                                               \
        {                                                                                          \
                [LADDER_NO_PREFETCH] = 800, [LADDER_NO_NEWCOMERS] = 900, [LADDER_NO_RESUMES] = 950 \
        }
#define MEMORY_MARGIN 25 /* malloc gives back late: a tenth less might never be seen */

/* Descriptors, per mille. One in use costs nobody anything, so the marks are near the end: of
 * 20,000 there are 800 left, then 500, then 200, which is room to accept in order to refuse in good
 * order. Prefetch needs them for moments only, and those who resume are let in with what newcomers
 * may not have. */
#define DESCRIPTOR_MARKS                                                                           \
        {                                                                                          \
                [LADDER_NO_PREFETCH] = 960, [LADDER_NO_NEWCOMERS] = 975, [LADDER_NO_RESUMES] = 990 \
        }
#define DESCRIPTOR_MARGIN \
        10 /* they are given back as devices leave: no tenth of all must have left first */

static const struct {
        uint32_t mark[LADDER_STEPS];
        uint32_t margin; /* per mille of the mark */
} table[LADDER_GAUGES] = {
        [LADDER_LAG] = { LAG_MARKS, LAG_MARGIN },
        [LADDER_MEMORY] = { MEMORY_MARKS, MEMORY_MARGIN },
        [LADDER_DESCRIPTORS] = { DESCRIPTOR_MARKS, DESCRIPTOR_MARGIN },
};

void ladder_init(struct ladder *ladder)
{
        *ladder = (struct ladder){ .step = LADDER_CALM };
}

uint32_t ladder_mark(enum ladder_gauge gauge, enum ladder_step step)
{
        check(gauge < LADDER_GAUGES && step > LADDER_CALM && step < LADDER_STEPS);
        return table[gauge].mark[step];
}

uint32_t ladder_clear(enum ladder_gauge gauge, enum ladder_step step)
{
        uint32_t mark = ladder_mark(gauge, step);

        return mark - mark * table[gauge].margin / 1000;
}

/* The step that the highest gauge asks for, and which gauge that is. */
static enum ladder_step asked_for(const struct ladder_reading *reading,
                                  enum ladder_gauge *ret_gauge)
{
        for (enum ladder_step step = LADDER_STEPS - 1; step > LADDER_CALM; step--)
                for (enum ladder_gauge gauge = 0; gauge < LADDER_GAUGES; gauge++)
                        if (reading->at[gauge] >= ladder_mark(gauge, step)) {
                                *ret_gauge = gauge;
                                return step;
                        }
        return LADDER_CALM;
}

/* Is any gauge not clear of the present step's mark? If the one that the step is due to is, another
 * takes its place. */
static bool is_held(struct ladder *ladder, const struct ladder_reading *reading)
{
        enum ladder_step step = ladder->step;
        bool held = false;

        if (reading->at[ladder->moved_by] >= ladder_clear(ladder->moved_by, step))
                return true;
        for (enum ladder_gauge gauge = 0; gauge < LADDER_GAUGES && !held; gauge++)
                if (reading->at[gauge] >= ladder_clear(gauge, step)) {
                        ladder->moved_by = gauge;
                        held = true;
                }
        return held;
}

bool ladder_read(struct ladder *ladder, const struct ladder_reading *reading, uint64_t now_ms)
{
        enum ladder_gauge gauge = ladder->moved_by;
        enum ladder_step asked = asked_for(reading, &gauge);

        check(now_ms > 0);
        if (asked > ladder->step) {
                *ladder = (struct ladder){ .step = asked, .moved_by = gauge, .since_ms = now_ms };
                return true;
        }
        if (ladder->step == LADDER_CALM)
                return false;
        if (is_held(ladder, reading)) {
                ladder->calm_since_ms = 0;
                return false;
        }
        if (ladder->calm_since_ms == 0)
                ladder->calm_since_ms = now_ms;
        if (now_ms - ladder->calm_since_ms < LADDER_CALM_MS)
                return false;
        ladder->step--;
        ladder->since_ms = now_ms;
        ladder->calm_since_ms = 0; /* the next step's own calm begins with the next reading */
        return true;
}
