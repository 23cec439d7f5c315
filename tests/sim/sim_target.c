/* tests/sim/sim_target.c -- see the header. */
#include "tests/sim/sim_target.h"

#include <jansson.h>

const struct target *sim_target(unsigned number)
{
        static const char *const texts[SIM_TARGETS] = {
                [1] = "{\"cohorts\":[\"c0\"]}",
                [2] = "{\"cohorts\":[\"c1\",\"c2\"]}",
                [3] = "{\"attributes\":{\"platform\":[\"tv\"]}}",
                [4] = "{\"cohorts\":[\"c0\",\"c2\"],\"attributes\":{\"platform\":[\"web\"]}}",
                [5] = "{\"cohorts\":[\"nobody\"]}",
        };
        static struct target *made[SIM_TARGETS]; /* one thread per process */

        check(number < SIM_TARGETS);
        if (texts[number] != NULL && made[number] == NULL) {
                json_t *json = json_loads(texts[number], 0, NULL);

                check(target_parse_object(json, &made[number]) == OK);
                json_decref(json);
        }
        return made[number];
}

void sim_target_traits(unsigned device, const char *ret_traits[TRAITS])
{
        static const char *const cohorts[] = { "c0", "c1", "c2" }, *const platforms[] = { "tv",
                                                                                          "web" };

        ret_traits[TRAIT_COHORT] = cohorts[device % countof(cohorts)];
        ret_traits[TRAIT_PLATFORM] =
            device % 4 == 3 ? "" : platforms[device / 3 % countof(platforms)];
        ret_traits[TRAIT_REGION] = ret_traits[TRAIT_APP] = NULL;
}
