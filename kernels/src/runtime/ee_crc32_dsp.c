/* Four bytes a step, each looked up as if those after it in the step were zero: 3.4 instructions a
 * byte, where the half kilobyte of ee_crc32_c takes 8.3. The tables are 4 KB of flash. */
#include "ee.h"

#ifdef EE_HAVE_DSP

#include <string.h>

#include "../common/ee_target.h"

/* A CRC is linear: that of a byte is the sum, without carries, of those of its bits, b0 to b7. */
#define BIT(n, i, b) ((n) >> (i) & 1 ? (b) : 0)
#define BYTE(n, b0, b1, b2, b3, b4, b5, b6, b7)                                          \
    (BIT(n, 0, b0) ^ BIT(n, 1, b1) ^ BIT(n, 2, b2) ^ BIT(n, 3, b3) ^ BIT(n, 4, b4)       \
     ^ BIT(n, 5, b5) ^ BIT(n, 6, b6) ^ BIT(n, 7, b7))
#define BYTES_4(n, ...)                                                                  \
    BYTE(n, __VA_ARGS__), BYTE(n + 1, __VA_ARGS__), BYTE(n + 2, __VA_ARGS__),           \
    BYTE(n + 3, __VA_ARGS__)
#define BYTES_16(n, ...)                                                                 \
    BYTES_4(n, __VA_ARGS__), BYTES_4(n + 4, __VA_ARGS__), BYTES_4(n + 8, __VA_ARGS__),   \
    BYTES_4(n + 12, __VA_ARGS__)
#define BYTES_64(n, ...)                                                                 \
    BYTES_16(n, __VA_ARGS__), BYTES_16(n + 16, __VA_ARGS__),                             \
    BYTES_16(n + 32, __VA_ARGS__), BYTES_16(n + 48, __VA_ARGS__)
#define SLICE(...)                                                                       \
    {BYTES_64(0, __VA_ARGS__), BYTES_64(64, __VA_ARGS__), BYTES_64(128, __VA_ARGS__),    \
     BYTES_64(192, __VA_ARGS__)}

/* SLICE_k[n]: the register after the byte n and k bytes of zeros, for the reflected polynomial
 * 0xEDB88320; given are those of the bytes with one bit. */
static const uint32_t SLICE_0[256] =
    SLICE(0x77073096, 0xEE0E612C, 0x076DC419, 0x0EDB8832,
          0x1DB71064, 0x3B6E20C8, 0x76DC4190, 0xEDB88320);
static const uint32_t SLICE_1[256] =
    SLICE(0x191B3141, 0x32366282, 0x646CC504, 0xC8D98A08,
          0x4AC21251, 0x958424A2, 0xF0794F05, 0x3B83984B);
static const uint32_t SLICE_2[256] =
    SLICE(0x01C26A37, 0x0384D46E, 0x0709A8DC, 0x0E1351B8,
          0x1C26A370, 0x384D46E0, 0x709A8DC0, 0xE1351B80);
static const uint32_t SLICE_3[256] =
    SLICE(0xB8BC6765, 0xAA09C88B, 0x8F629757, 0xC5B428EF,
          0x5019579F, 0xA032AF3E, 0x9B14583D, 0xED59B63B);

uint32_t ee_crc32_dsp(uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *next = data;
    uint32_t word;

    crc = ~crc;
    EE_UNROLL_BY(4)
    for (; bytes >= 4; bytes -= 4, next += 4) {
        memcpy(&word, next, sizeof(word)); /* the lowest byte is the first */
        crc ^= word;
        crc = SLICE_3[crc & 0xFF] ^ SLICE_2[crc >> 8 & 0xFF] ^ SLICE_1[crc >> 16 & 0xFF]
              ^ SLICE_0[crc >> 24];
    }
    for (; bytes > 0; bytes--, next++) {
        crc = crc >> 8 ^ SLICE_0[(crc ^ *next) & 0xFF];
    }
    return ~crc;
}

#endif
