/* A target under libFuzzer. Half of the inputs are changed by libFuzzer's own mutations too, which
 * follow the coverage, and get checksums that agree all the same. */
#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    fuzz_random random = {seed};

    if (fuzz_below(&random, 2)) {
        size = LLVMFuzzerMutate(data, size, capacity);
    }
    return fuzz_mutate(data, size, capacity, &random);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_one(data, size);
    return 0;
}
