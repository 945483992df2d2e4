// A constant part of an index into an array leads to where another one begins, at the end of the variable in front. Something has stood between
// the two in the old build.
//#Hazard: C1,D1
//#Matrix: cc=gcc,clang opt=-O2,-O1 kind=pie,shared
//#Expect: safe
//#Call: next 17
//#Call: tail 2
#include "scenario.h"

struct state {
    int count;
    char filler[8124];
    char tail[64];
} state = {.tail = "the end"};
#ifndef NEW
int removed[40] = {9, 9, 9};
#endif
int last[64] = {100, 200, 300};

#ifdef NEW
// `last` less 64 bytes.
NOINLINE int next(long n) { return last[n - 16]; }
NOINLINE int tail(long n) { return state.tail[n]; }
#else
NOINLINE int next(long n) { return removed[n & 3]; }
NOINLINE int tail(long n) { return state.tail[0] + (int)n * 0; }
#endif

void command(const char *line) {
    long n;
    if (sscanf(line, "next %ld", &n) == 1)
        printf("%d\n", next(n));
    if (sscanf(line, "tail %ld", &n) == 1)
        printf("%d\n", tail(n));
}
