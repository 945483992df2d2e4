// A new variable that only start-up code sets, which `main` has called already: in place, as a table that is filled, or by somebody who is given
// its address.
//#Hazard: D2,D10
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie cflags=-DPOINTER,-DTABLE,-DNESTED,-DFILLED
//#Flags: -DPREPARED
//#Expect: start
//#Expect[cflags=-DTABLE,kind=nopie]: safe
//#Call: show 3
#include "scenario.h"

static int counter;

#ifndef NEW
#elif defined POINTER
struct cache {
    int size, hits;
};
static struct cache *cache;
#define SET (cache = calloc(1, sizeof *cache), cache->size = 16)
#define USE(x) (cache->size + ++cache->hits + x)
#elif defined TABLE
static unsigned table[64];
#define SET                                                                                                                                                    \
    for (int i = 0; i < 64; i++) {                                                                                                                             \
        unsigned n = i;                                                                                                                                        \
        OPAQUE(n);                                                                                                                                             \
        table[i] = n * 2654435761u >> 7;                                                                                                                       \
    }
#define USE(x) (int)table[x & 63]
#elif defined NESTED
static int factor;
static NOINLINE void set(void) { factor = atoi("7"); }
#define SET set()
#define USE(x) (factor * x)
#else
static struct {
    int first, second;
} limits;
NOINLINE void fill(int *to) { to[1] = to[0] = atoi("5"); }
#define SET fill(&limits.first)
#define USE(x) (limits.second + x)
#endif

void prepare(void) {
    counter = 1;
#ifdef NEW
    SET;
#endif
}

NOINLINE int tick(int x) {
    ++counter;
#ifdef NEW
    return USE(x);
#else
    return x;
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "show %d", &x) == 1)
        printf("%d\n", tick(x));
}
