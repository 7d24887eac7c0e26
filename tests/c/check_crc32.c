/* CRC-32 of every instruction set: known values, and the bytes of portable C at every length around
 * its steps (64, 16 and 4 bytes) and every alignment. */
#include "check.h"
#include "ee.h"

int main(void)
{
    unsigned char data[1200];

    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char)(random_float() * 127.0f);
    }
    for (int isa = 0; isa <= (int)ee_isa_best(); isa++) {
        const ee_ops *const ops = ee_ops_for((ee_isa)isa);
        if (ops == NULL) {
            continue;
        }
        CHECK(ops->crc32(0, "123456789", 9) == 0xCBF43926u, "the check value of CRC-32");
        CHECK(ops->crc32(0, NULL, 0) == 0, "nothing");
        for (size_t length = 0; length <= 1100; length++) {
            const size_t start = length % 64;
            const uint32_t expected = ee_crc32_c(0, data + start, length);
            const uint32_t half = ops->crc32(0, data + start, length / 2);

            CHECK(ops->crc32(0, data + start, length) == expected, "%zu bytes", length);
            CHECK(ops->crc32(half, data + start + length / 2, length - length / 2) == expected,
                  "%zu bytes in two halves", length);
        }
        for (size_t start = 0; start < 64; start++) {
            CHECK(ops->crc32(0, data + start, 777) == ee_crc32_c(0, data + start, 777),
                  "offset %zu", start);
        }
    }
    return check_result("check_crc32");
}
