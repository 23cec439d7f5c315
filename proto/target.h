/* proto/target.h -- whom a signal is for: cohorts, and values of the attributes that a device gives
 * when it connects. As JSON, in requests and in the log's `to`:
 *
 *     {"cohorts":["default"],"attributes":{"platform":["tv","web"],"region":["eu"],"app":["9.1"]}}
 *
 * A device is meant if each list that is there holds the device's own word. Everything but one of
 * these lists may be absent; an absent list means any device, an empty one is refused, since it
 * would mean none. Names are low-cardinality by rule: they are what devices have in common, and one
 * device has a message of its own. Targets are immutable once made, so any thread may read one.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "proto/names.h"

#define TARGET_COHORTS_MAX 100 /* in one target */
#define TARGET_VALUES_MAX  64  /* of one attribute */

/* What a device says of itself, and what a target may name. */
enum trait { TRAIT_COHORT, TRAIT_PLATFORM, TRAIT_REGION, TRAIT_APP, TRAITS };
#define TRAIT_MAX 64 /* bytes of each, see names.h */
extern const char
    *const trait_name[TRAITS]; /* "cohort", "platform", ...: the parameters of connect */

struct target;
struct json_t; /* jansson's */

/* From the values of the members `cohorts` and `attributes`, either NULL if absent. ERR_NOT_FOUND:
 * both are, so it is for everyone. ERR_INVALID: not of the form above, an unknown attribute, too
 * many or not of the names' alphabet; `*ret_why` is then a sentence for people (static). ERR_NOMEM.
 * A name said twice counts once. */
must_check enum err target_parse(const struct json_t *cohorts, const struct json_t *attributes,
                                 struct target **ret_target, const char **ret_why);
/* From the whole object, as it stands in `to`. ERR_INVALID also for one that names nothing, or has
 * other members. */
must_check enum err target_parse_object(const struct json_t *object, struct target **ret_target);
struct target *target_copy(const struct target *target); /* NULL = no memory, or `target` is NULL */
void target_destroy(struct target *target);              /* NULL is fine */

/* Appends the object above, in one form only: names sorted, nothing twice, no spaces. */
void target_format(const struct target *target, struct buf *out);
bool target_equal(const struct target *a, const struct target *b); /* NULL is equal to NULL alone */

/* Is it for a device with these words? NULL or "" = it has said none. A NULL target is for
 * everyone. */
bool target_matches(const struct target *target, const char *const traits[TRAITS]);
/* The names of one list, sorted; *ret_n = 0 if it is absent. */
const char *const *target_names(const struct target *target, enum trait trait, size_t *ret_n);
