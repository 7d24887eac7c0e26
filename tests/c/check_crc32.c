/* CRC-32: known values, and the variant chosen for this CPU against the portable one at every
 * length around its steps (64, 16 and 4 bytes) and every alignment. */
#include "check.h"
#include "ee.h"

int main(void)
{
    unsigned char data[1200];

    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char)(random_float() * 127.0f);
    }
    CHECK(ee_crc32("123456789", 9) == 0xCBF43926u, "the check value of CRC-32");
    CHECK(ee_crc32_c("123456789", 9) == 0xCBF43926u, "the check value of CRC-32");
    CHECK(ee_crc32(NULL, 0) == 0 && ee_crc32_c(NULL, 0) == 0, "nothing");
    for (size_t length = 0; length <= 1100; length++) {
        const size_t start = length % 64;
        CHECK(ee_crc32(data + start, length) == ee_crc32_c(data + start, length), "%zu bytes",
              length);
    }
    for (size_t start = 0; start < 64; start++) {
        CHECK(ee_crc32(data + start, 777) == ee_crc32_c(data + start, 777), "offset %zu", start);
    }
    return check_result("check_crc32");
}
