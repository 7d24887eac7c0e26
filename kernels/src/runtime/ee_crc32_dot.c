/* The instructions for it came with Armv8.1, and the dot product later. */
#include "ee.h"

#ifdef EE_HAVE_DOT

#include <arm_acle.h>
#include <string.h>

#include "../common/ee_target.h"

#ifdef __clang__
EE_TARGET_BEGIN("crc")
#else
EE_TARGET_BEGIN("+crc")
#endif

uint32_t ee_crc32_dot(uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *next = data;

    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, next += 8) {
        uint64_t eight;
        memcpy(&eight, next, sizeof(eight));
        crc = __crc32d(crc, eight);
    }
    for (; bytes > 0; bytes--, next++) {
        crc = __crc32b(crc, *next);
    }
    return ~crc;
}

EE_TARGET_END

#endif
