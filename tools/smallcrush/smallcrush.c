/* Runs TestU01's SmallCrush on words from standard input, four bytes each, little-endian.
 * Prints a line a statistic, `suspect` before those outside [0.001, 0.999], and their number.
 * With the argument `reversed`, each word's bits come in reverse: SmallCrush looks at high bits
 * most, and this is how it comes to see the low ones.
 */
#include <bbattery.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <swrite.h>
#include <unif01.h>

static int is_reversed;

static uint32_t reverse(uint32_t x) {
    x = (x & 0x55555555) << 1 | (x >> 1 & 0x55555555);
    x = (x & 0x33333333) << 2 | (x >> 2 & 0x33333333);
    x = (x & 0x0f0f0f0f) << 4 | (x >> 4 & 0x0f0f0f0f);
    return x << 24 | (x & 0xff00) << 8 | (x >> 8 & 0xff00) | x >> 24;
}

static unsigned int next(void) {
    static unsigned char bytes[1 << 18];
    static size_t at = sizeof bytes;
    uint32_t word;
    if (at == sizeof bytes) {
        if (fread(bytes, sizeof bytes, 1, stdin) != 1) {
            /* A battery over words that are not there would be a result of nothing. */
            fputs("smallcrush: the words ended\n", stderr);
            exit(1);
        }
        at = 0;
    }
    word = (uint32_t)bytes[at] | (uint32_t)bytes[at + 1] << 8 | (uint32_t)bytes[at + 2] << 16 |
           (uint32_t)bytes[at + 3] << 24;
    at += 4;
    return is_reversed ? reverse(word) : word;
}

int main(int count, char **arguments) {
    int suspects = 0;
    unif01_Gen *generator = unif01_CreateExternGenBits("words", next);
    is_reversed = count > 1 && strcmp(arguments[1], "reversed") == 0;
    swrite_Basic = FALSE;
    bbattery_SmallCrush(generator);
    for (int i = 0; i < bbattery_NTests; i++) {
        double p = bbattery_pVal[i];
        int suspect = !(p >= 0.001 && p <= 0.999);
        suspects += suspect;
        printf("%-8s %-22s p = %.3g\n", suspect ? "suspect" : "", bbattery_TestNames[i], p);
    }
    printf("RESULT %d statistics, %d outside [0.001, 0.999]\n", bbattery_NTests, suspects);
    unif01_DeleteExternGenBits(generator);
    return suspects > 0;
}
