/* loadtest/model.h -- what real devices are like, as far as a herd plays it: they take a moment
 * before they do something of their own, no two take the same moment, some read slowly or not at
 * all, some fall silent. Which device is which follows from its number, so that two runs meet the
 * same ones. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

#define MODEL_SHARE_WHOLE 10000 /* shares are counted in ten-thousandths */

enum model_role {
        MODEL_BRISK, /* reads at once */
        MODEL_SLOW,  /* reads MODEL_SIP_BYTES every MODEL_SIP_MS while the herd's slow ones sleep */
        MODEL_STUCK, /* reads nothing meanwhile */
        MODEL_DEAD   /* after its first hello: reads nothing and says nothing, for ever */
};

#define MODEL_SIP_BYTES 256
#define MODEL_SIP_MS    200
/* The receive buffer of devices that are to be slow: small, or the kernel reads in their place. */
#define MODEL_SLOW_RCVBUF 2304

struct model {               /* zero-filled: every device is brisk and acts at once */
        uint32_t think_ms;   /* mean of an exponential pause, cut at five times the mean */
        uint32_t jitter_ms;  /* on top: uniform, from 0 */
        uint32_t dead, slow; /* shares of all devices; of the slow ones every other one is stuck */
};

enum model_role model_role(const struct model *model, uint32_t number);
/* A moment before a device does something of its own. */
uint32_t model_pause_ms(const struct model *model, struct rng *rng);
/* "0.1", "10%", "1/10": into ten-thousandths. False: none of these, or more than the whole. */
bool model_parse_share(const char *text, uint32_t *ret_share);
