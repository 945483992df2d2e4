// Constant parts of an index are folded into the address of an array: it lies far away, in another object, in a text or in the filler in
// front of the array, also where a backward loop ends. What lies there moves against the array from build to build.
//#Hazard: C1,C16,D1
//#Matrix: cc=gcc,clang,gcc,clang opt=-O2,-O3,-O1,-Os kind=pie,shared,nopie,pie ld=bfd,lld,gold,mold
//#Expect: safe
//#Call: near 1003
//#Call: far 70002
//#Call: farther 300004
//#Call: structs 4099
//#Call: back 5
//#Call: ahead 2
#include "scenario.h"

#ifdef NEW
#define MORE + 1
int first_added[3] = {70, 80, 90};
static const char text[] = "a text that moves all constants that lie behind it, by no round number of bytes at all";
static const unsigned char added_constants[37] = {1, 2, 3};
#else
#define MORE
#endif

int before[1200] = {1, 2, 3};
int middle[16] = {11, 22, 33, 44, 55, 66};
short other[40000] = {7, 8, 9};
static const int constants[9] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
static const struct pair {
    int key;
    int value[2];
} pairs[7] = {{1, {2, 3}}, {4, {5, 6}}, {7, {8, 9}}, {10, {11, 12}}};
#ifdef NEW
int between[5] = {5, 4, 3, 2, 1};
#endif
int last[8] = {100, 200, 300, 400, 500};

// The index is changed nowhere, but the code around it is.
NOINLINE int near(long n) { return middle[n - 1001] * (3 MORE); }
NOINLINE int far(long n) { return last[n - 70001] + (2 MORE); }
NOINLINE int farther(long n) { return middle[n - 300000] ^ (4 MORE); }
NOINLINE int structs(long n) { return pairs[n - 4097].value[1] + (1 MORE); }

NOINLINE unsigned back(unsigned h) {
    for (unsigned i = 6; i-- > 0;)
        h = (h << 1 | h >> 31) + (unsigned)constants[i];
    for (unsigned i = 4; i-- > 0;)
        h = (h << 3 | h >> 29) ^ (unsigned)pairs[i].value[0];
    return h * (5 MORE);
}

NOINLINE int ahead(long n) {
    return before[n + 1100] + other[n + 20000] + middle[n + 3] * (7 MORE);
}

void command(const char *line) {
    long n;
#ifdef NEW
    OPAQUE(first_added[0]);
    if (first_added[1] + between[1] == 0)
        puts(text + added_constants[1]);
#endif
    if (sscanf(line, "near %ld", &n) == 1)
        printf("%d\n", near(n));
    if (sscanf(line, "far %ld", &n) == 1)
        printf("%d\n", far(n));
    if (sscanf(line, "farther %ld", &n) == 1)
        printf("%d\n", farther(n));
    if (sscanf(line, "structs %ld", &n) == 1)
        printf("%d\n", structs(n));
    if (sscanf(line, "back %ld", &n) == 1)
        printf("%u\n", back((unsigned)n));
    if (sscanf(line, "ahead %ld", &n) == 1)
        printf("%d\n", ahead(n));
}
