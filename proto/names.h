/* proto/names.h -- what ids may look like, and how long they get: one place, because these texts go
 * into URLs, Redis keys, logs and fixed-size fields. All are ASCII [A-Za-z0-9._:~-], never empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define EVENT_ID_MAX    64 /* bytes, without the NUL */
#define STAGE_MAX       32
#define COHORT_MAX      64
#define ATTRIBUTE_MAX   64 /* a device's platform, region or app */
#define DEVICE_ID_MAX   128
#define NODE_NAME_MAX   64
#define NAMESPACE_MAX   64
#define REQUEST_KEY_MAX 128
#define TITLE_MAX       256 /* bytes of UTF-8 */
#define STAGES_MAX      32  /* stages of one event */
#define EVENTS_MAX      1024 /* events of one namespace, those that are over included */

#define COHORT_DEFAULT  "default"

/* 1..max bytes of the set above. */
bool name_is_valid(const char *text, size_t len, size_t max);
