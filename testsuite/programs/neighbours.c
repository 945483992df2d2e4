// New objects right behind old ones: an address that is the start of the one may be the end of the other.
//#Hazard: C1,D2
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,nopie,shared ld=bfd,mold
//#Expect: live
//#Warm: set 3 9
//#Call: old 2
//#Call: pick 1
//#Call: count 5
//#After: old 3 => 9
#include "scenario.h"

struct pair {
    int key, value;
};

int numbers[4] = {1, 2, 3, 4};
#ifdef NEW
static struct pair fresh[3] = {{10, 1}, {20, 2}, {30, 3}};
#endif
static struct pair pairs[3] = {{1, 100}, {2, 200}, {3, 300}};
static const int steps[4] = {4, 3, 2, 1};
#ifdef NEW
static const int limits[4] = {7, 70, 700, 7000};
#endif

// Walks an array from a reference of its own, in both builds.
NOINLINE int old(int i) {
    int sum = 0;
    for (const int *p = numbers; p < numbers + 4; p++)
        sum = sum * 10 + *p;
    return i < 4 ? numbers[i] : sum + steps[i & 3];
}

// Reads the object that stands behind another one now, and that it has always read.
NOINLINE int pick(int i) {
    const struct pair *p = &pairs[i % 3];
#ifdef NEW
    return p->key * 1000 + p->value;
#else
    return p->value;
#endif
}

// Reads the new ones.
NOINLINE int count(int i) {
#ifdef NEW
    return fresh[i % 3].key + fresh[i % 3].value + limits[i & 3];
#else
    return i * 3 + numbers[i & 3];
#endif
}

void command(const char *line) {
    int i, v;
    if (sscanf(line, "set %d %d", &i, &v) == 2)
        numbers[i & 3] = v, puts("ok");
    else if (sscanf(line, "old %d", &i) == 1)
        printf("%d\n", old(i));
    else if (sscanf(line, "pick %d", &i) == 1)
        printf("%d\n", pick(i));
    else if (sscanf(line, "count %d", &i) == 1)
        printf("%d\n", count(i));
}
