/* proto/target.c -- see the header. One block of memory each: the struct, the pointers list after
 * list, the texts. The names are sorted, so that a look-up halves, and that the same target is
 * always the same text: the log's body is compared as text when a request is repeated. */
#include "proto/target.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

const char *const trait_name[TRAITS] = {
        [TRAIT_COHORT] = "cohort",
        [TRAIT_PLATFORM] = "platform",
        [TRAIT_REGION] = "region",
        [TRAIT_APP] = "app",
};

_Static_assert(TRAIT_MAX >= COHORT_MAX && TRAIT_MAX >= ATTRIBUTE_MAX, "a trait holds each of them");
_Static_assert(TARGET_COHORTS_MAX == 100 && TARGET_VALUES_MAX == 64 && TRAIT_MAX == 64,
               "the sentences below say so");

struct target {
        size_t len;          /* bytes of the whole block */
        uint16_t n[TRAITS];  /* 0 = any */
        const char *names[]; /* all lists, one after another; the texts follow */
};

static size_t list_limit(enum trait trait)
{
        return trait == TRAIT_COHORT ? TARGET_COHORTS_MAX : TARGET_VALUES_MAX;
}

/* NULL if `list` is a list of names of that trait, else what is wrong. */
static const char *judge_list(enum trait trait, const json_t *list)
{
        size_t max = trait == TRAIT_COHORT ? COHORT_MAX : ATTRIBUTE_MAX, i;
        json_t *name;

        if (!json_is_array(list) || json_array_size(list) == 0)
                return "cohorts and the values of each attribute are lists of at least one name";
        if (json_array_size(list) > list_limit(trait))
                return "at most 100 cohorts and 64 values of an attribute may be named";
        json_array_foreach(list, i, name)
        {
                if (!json_is_string(name) ||
                    !name_is_valid(json_string_value(name), json_string_length(name), max))
                        return "a cohort or value is 1 to 64 of the characters A-Z a-z 0-9 . _ : ~ -";
        }
        return NULL;
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, each once; how many. */
static size_t sort_names(const char **names, size_t n)
{
        size_t kept = 0;

        qsort(names, n, sizeof(*names), by_text);
        for (size_t i = 0; i < n; i++) {
                if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0)
                        names[kept++] = names[i];
        }
        return kept;
}

/* The lists have been judged; NULL = that one is absent. */
static struct target *make(const json_t *const lists[TRAITS])
{
        const char *names[TARGET_COHORTS_MAX + (TRAITS - 1) * TARGET_VALUES_MAX];
        uint16_t n[TRAITS];
        size_t all = 0, text = 0, i;
        struct target *target;
        json_t *name;
        char *at;

        for (unsigned trait = 0; trait < TRAITS; trait++) {
                size_t here = 0;

                json_array_foreach(lists[trait], i, name) names[all + here++] =
                    json_string_value(name);
                n[trait] = (uint16_t)sort_names(names + all, here);
                all += n[trait];
        }
        for (i = 0; i < all; i++)
                text += strlen(names[i]) + 1;
        target = malloc(sizeof(*target) + all * sizeof(*names) + text);
        if (target == NULL)
                return NULL;
        target->len = sizeof(*target) + all * sizeof(*names) + text;
        memcpy(target->n, n, sizeof(n));
        at = (char *)(target->names + all);
        for (i = 0; i < all; i++) {
                size_t size = strlen(names[i]) + 1;

                target->names[i] = memcpy(at, names[i], size);
                at += size;
        }
        return target;
}

/* Which trait an attribute's name stands for; TRAITS = none. */
static enum trait find_attribute(const char *name)
{
        for (unsigned trait = TRAIT_PLATFORM; trait < TRAITS; trait++) {
                if (strcmp(name, trait_name[trait]) == 0)
                        return (enum trait)trait;
        }
        return TRAITS;
}

enum err target_parse(const json_t *cohorts, const json_t *attributes, struct target **ret_target,
                      const char **ret_why)
{
        const json_t *lists[TRAITS] = { [TRAIT_COHORT] = cohorts };
        const char *why = cohorts != NULL ? judge_list(TRAIT_COHORT, cohorts) : NULL, *name;
        struct target *target;
        json_t *list;

        if (cohorts == NULL && attributes == NULL)
                return ERR_NOT_FOUND;
        if (attributes != NULL &&
            (!json_is_object(attributes) || json_object_size(attributes) == 0))
                why = "attributes is an object with one or more of platform, region and app";
        json_object_foreach((json_t *)attributes, name, list)
        {
                enum trait trait = find_attribute(name);

                if (trait == TRAITS)
                        why = "the attributes are platform, region and app";
                else if (why == NULL)
                        why = judge_list(trait, list);
                if (why != NULL)
                        break;
                lists[trait] = list;
        }
        if (why != NULL) {
                *ret_why = why;
                return ERR_INVALID;
        }
        target = make(lists);
        if (target == NULL)
                return ERR_NOMEM;
        *ret_target = target;
        return OK;
}

enum err target_parse_object(const json_t *object, struct target **ret_target)
{
        const json_t *cohorts = json_object_get(object, "cohorts");
        const json_t *attributes = json_object_get(object, "attributes");
        const char *why;
        enum err err;

        if (json_object_size(object) != (size_t)(cohorts != NULL) + (attributes != NULL))
                return ERR_INVALID;
        err = target_parse(cohorts, attributes, ret_target, &why);
        return err == ERR_NOT_FOUND ? ERR_INVALID : err;
}

struct target *target_copy(const struct target *target)
{
        struct target *copy = target != NULL ? malloc(target->len) : NULL;
        size_t all = 0;

        if (copy == NULL)
                return NULL;
        memcpy(copy, target, target->len);
        for (unsigned trait = 0; trait < TRAITS; trait++)
                all += target->n[trait];
        for (size_t i = 0; i < all; i++)
                copy->names[i] = (const char *)copy + (target->names[i] - (const char *)target);
        return copy;
}

void target_destroy(struct target *target)
{
        free(target);
}

const char *const *target_names(const struct target *target, enum trait trait, size_t *ret_n)
{
        size_t before = 0;

        for (unsigned i = 0; i < trait; i++)
                before += target->n[i];
        *ret_n = target->n[trait];
        return target->names + before;
}

/* Names are of an alphabet without quotes, so nothing needs escaping. */
static void format_list(const struct target *target, enum trait trait, struct buf *out)
{
        size_t n;
        const char *const *names = target_names(target, trait, &n);

        for (size_t i = 0; i < n; i++) {
                buf_str(out, i == 0 ? "[\"" : ",\"");
                buf_str(out, names[i]);
                buf_char(out, '"');
        }
        buf_char(out, ']');
}

void target_format(const struct target *target, struct buf *out)
{
        bool any = false;

        buf_char(out, '{');
        if (target->n[TRAIT_COHORT] > 0) {
                buf_str(out, "\"cohorts\":");
                format_list(target, TRAIT_COHORT, out);
        }
        for (unsigned trait = TRAIT_PLATFORM; trait < TRAITS; trait++) {
                if (target->n[trait] == 0)
                        continue;
                if (!any && target->n[TRAIT_COHORT] > 0)
                        buf_char(out, ',');
                buf_str(out, any ? "," : "\"attributes\":{");
                buf_printf(out, "\"%s\":", trait_name[trait]);
                format_list(target, (enum trait)trait, out);
                any = true;
        }
        buf_str(out, any ? "}}" : "}");
}

bool target_equal(const struct target *a, const struct target *b)
{
        size_t all = 0;

        if (a == NULL || b == NULL)
                return a == b;
        if (memcmp(a->n, b->n, sizeof(a->n)) != 0)
                return false;
        for (unsigned trait = 0; trait < TRAITS; trait++)
                all += a->n[trait];
        for (size_t i = 0; i < all; i++) {
                if (strcmp(a->names[i], b->names[i]) != 0)
                        return false;
        }
        return true;
}

bool target_matches(const struct target *target, const char *const traits[TRAITS])
{
        if (target == NULL)
                return true;
        for (unsigned trait = 0; trait < TRAITS; trait++) {
                size_t n;
                const char *const *names = target_names(target, (enum trait)trait, &n);

                if (n == 0)
                        continue;
                if (traits[trait] == NULL ||
                    bsearch(&traits[trait], names, n, sizeof(*names), by_text) == NULL)
                        return false;
        }
        return true;
}
