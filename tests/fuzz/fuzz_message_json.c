/* Any bytes as a message in json. */
#include "tests/fuzz/fuzz_round_trip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
        round_trip(bytes, len, ENCODING_JSON);
        return 0;
}
