// A variable that gets an alignment which new code makes use of, and that the old build has where it isn't aligned so (HP0413).
//#Hazard: D5
//#Matrix: cc=clang,gcc opt=-O0,-O2 kind=pie,nopie,shared
// Where the compiler has aligned it in the old build, too, the patch may be live.
//#Expect: safe
//#Expect[cc=clang,opt=-O0]: start
//#Call: add 3
//#Call: add 9
#include "scenario.h"
#include <emmintrin.h>

struct padding {
    char bytes[17];
};
static struct padding before;
static struct cells {
    char bytes[24];
} cells
#ifdef NEW
    __attribute__((aligned(64)))
#endif
    ;
static struct padding behind;

NOINLINE void pad(int c) {
    before.bytes[c & 15] += 1;
    behind.bytes[c & 15] += 1;
}

NOINLINE void add(int c) {
#ifdef NEW
    __m128i *first = (__m128i *)cells.bytes;
    _mm_store_si128(first, _mm_add_epi8(_mm_load_si128(first), _mm_set1_epi8((char)c)));
    cells.bytes[3] += 40;
#else
    for (int i = 0; i < 16; i++)
        cells.bytes[i] += c;
#endif
}

NOINLINE void clear(void) { memset(cells.bytes, 1, sizeof cells.bytes); }

void command(const char *line) {
    int c;
    if (sscanf(line, "add %d", &c) != 1)
        return;
    pad(c);
    clear();
    add(c);
    printf("%d %d\n", cells.bytes[3], cells.bytes[15]);
}
