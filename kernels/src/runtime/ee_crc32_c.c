#include "ee.h"
#include "ee_crc32_table.h"

/* The CRC register is the remainder, least significant bit first, of all bytes so far, and what is
 * given its complement. Four bytes a step: each of them is looked up as if the bytes after it in
 * the step were zero. */
uint32_t ee_crc32_c(uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *next = data;

    crc = ~crc;
    for (; bytes >= 4; bytes -= 4, next += 4) {
        crc ^= (uint32_t)next[0] | (uint32_t)next[1] << 8 | (uint32_t)next[2] << 16
               | (uint32_t)next[3] << 24;
        crc = CRC32_TABLE[3][crc & 0xFF] ^ CRC32_TABLE[2][crc >> 8 & 0xFF]
              ^ CRC32_TABLE[1][crc >> 16 & 0xFF] ^ CRC32_TABLE[0][crc >> 24];
    }
    for (; bytes > 0; bytes--, next++) {
        crc = crc >> 8 ^ CRC32_TABLE[0][(crc ^ *next) & 0xFF];
    }
    return ~crc;
}
