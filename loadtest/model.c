/* loadtest/model.c -- see model.h. */
#include "loadtest/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Multiples of the golden section of the whole, which has no factor in common with it, fall evenly
 * whatever piece of the numbers is looked at (Knuth, TAOCP 3, 6.4): a share of 1/10 is about one
 * device in ten also of those on one node or in one process. */
#define GOLDEN 6181

enum model_role model_role(const struct model *model, uint32_t number)
{
        uint32_t place = (uint32_t)((uint64_t)number * GOLDEN % MODEL_SHARE_WHOLE);

        if (place < model->dead)
                return MODEL_DEAD;
        if (place < model->dead + model->slow / 2)
                return MODEL_STUCK;
        return place < model->dead + model->slow ? MODEL_SLOW : MODEL_BRISK;
}

uint32_t model_pause_ms(const struct model *model, struct rng *rng)
{
        double pause = 0;

        if (model->think_ms > 0) {
                double uniform = (double)(rng_below(rng, 1u << 30) + 1) / (double)(1u << 30);

                pause = -log(uniform);
                pause = (pause < 5 ? pause : 5) * model->think_ms;
        }
        if (model->jitter_ms > 0)
                pause += (double)rng_below(rng, (uint64_t)model->jitter_ms + 1);
        return (uint32_t)pause;
}

bool model_parse_share(const char *text, uint32_t *ret_share)
{
        char *end;
        double value, divisor;

        if (text[0] < '0' || text[0] > '9')
                return false; /* strtod would take spaces, signs, inf and nan */
        value = strtod(text, &end);
        if (strcmp(end, "%") == 0) {
                value /= 100;
        } else if (end[0] == '/' && end[1] >= '1' && end[1] <= '9') {
                divisor = strtod(end + 1, &end);
                if (*end != '\0')
                        return false;
                value /= divisor;
        } else if (*end != '\0') {
                return false;
        }
        if (!(value >= 0 && value <= 1))
                return false;
        *ret_share = (uint32_t)(value * MODEL_SHARE_WHOLE + 0.5);
        return true;
}
