// Aligned operands that a variable has no room for aren't in it: new code that uses such ones elsewhere, and takes the variable's address,
// finds it where the old build has it.
//#Hazard: D5
//#Matrix: cc=clang,gcc opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: add 3
//#Call: add 9
#include "scenario.h"
#include <emmintrin.h>
#include <stdlib.h>

static char before[17];
static int limit
#ifdef NEW
    __attribute__((aligned(64)))
#endif
    ;
static char behind[17];

NOINLINE void pad(int c) {
    before[c & 15] += 1;
    behind[c & 15] += 1;
}

NOINLINE int raised(int *to, int c) { return *to = *to > c ? *to : c; }

NOINLINE int add(char *cells, int c) {
#ifdef NEW
    __m128i *first = (__m128i *)cells;
    _mm_store_si128(first, _mm_add_epi8(_mm_load_si128(first), _mm_set1_epi8((char)c)));
    cells[3] += 40;
#else
    for (int i = 0; i < 16; i++)
        cells[i] += c;
#endif
    return raised(&limit, c);
}

void command(const char *line) {
    int c;
    if (sscanf(line, "add %d", &c) != 1)
        return;
    pad(c);
    limit = 5;
    char *cells = aligned_alloc(16, 16);
    memset(cells, 1, 16);
    int most = add(cells, c);
    printf("%d %d %d\n", cells[3], cells[15], most);
    free(cells);
}
