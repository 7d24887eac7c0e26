/* CRC-32 of every instruction set, and that of Arm M, which is C that any CPU runs: known values, and
 * the bytes of portable C at every length around its steps (64, 16 and 4 bytes) and every alignment. */
#include "check.h"
#include "ee.h"

#ifndef EE_HAVE_DSP
#define EE_HAVE_DSP 1
#include "../../kernels/src/runtime/ee_crc32_dsp.c"
#endif

static unsigned char data[1200];

static void check(const char *name, ee_crc32 *crc32)
{
    CHECK(crc32(0, "123456789", 9) == 0xCBF43926u, "%s: the check value of CRC-32", name);
    CHECK(crc32(0, NULL, 0) == 0, "%s: nothing", name);
    for (size_t length = 0; length <= 1100; length++) {
        const size_t start = length % 64;
        const uint32_t expected = ee_crc32_c(0, data + start, length);
        const uint32_t half = crc32(0, data + start, length / 2);

        CHECK(crc32(0, data + start, length) == expected, "%s: %zu bytes", name, length);
        CHECK(crc32(half, data + start + length / 2, length - length / 2) == expected,
              "%s: %zu bytes in two halves", name, length);
    }
    for (size_t start = 0; start < 64; start++) {
        CHECK(crc32(0, data + start, 777) == ee_crc32_c(0, data + start, 777), "%s: offset %zu",
              name, start);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char)(random_float() * 127.0f);
    }
    for (int isa = 0; isa <= (int)ee_isa_best(); isa++) {
        const ee_ops *const ops = ee_ops_for((ee_isa)isa);
        if (ops != NULL) {
            check(ee_isa_name((ee_isa)isa), ops->crc32);
        }
    }
    check("dsp", ee_crc32_dsp);
    return check_result("check_crc32");
}
