// Addresses that lie outside of the object they mean: the end of an array, a base moved below its start, the middle of a structure.
//#Hazard: C1,C16,D1
//#Matrix: cc=gcc,clang opt=-O1,-O2,-O3 kind=pie,nopie,shared
//#Expect: live
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[cc=clang,kind=nopie]: safe
//#Warm: put 3 40
//#Call: constant 12
//#After: sum => 1051
//#After: shifted 13 => 40!
//#After: member => 8!
//#After: put 0 5 => ok
//#After: sum => 1055
//#Reverted: sum => 55
//#Reverted: shifted 13 => 40
#include "scenario.h"

static int before[4] = {100, 100, 100, 100};
static int values[8] = {1, 1, 2, 3, 1, 1, 2, 3};
static int after[4] = {7, 7, 7, 7};
static const short table[6] = {10, 20, 30, 40, 50, 60};
static const short neighbour[6] = {1, 2, 3, 4, 5, 6};
static struct {
    char name[12];
    long inner[4];
} record = {"record", {5, 6, 7, 8}};

NOINLINE int sum(void) {
    int total = 0;
    for (const int *p = values; p < values + 8; p++)
        total += *p;
#ifdef NEW
    for (const int *p = values + 8; p-- > values;)
        total += *p == 40 ? 1000 : 0;
#endif
    return total + (before[1] != 100) + (after[0] != 7);
}

// The compiler folds the constant into the base address.
NOINLINE int shifted(int i) {
    return values[i - 10];
}

NOINLINE void print_shifted(int i) {
#ifdef NEW
    printf("%d!\n", shifted(i));
#else
    printf("%d\n", shifted(i));
#endif
}

NOINLINE int constant(int i) {
#ifdef NEW
    return table[i - 10] * 2 + neighbour[i - 12];
#else
    return table[i - 10] + neighbour[i - 12];
#endif
}

NOINLINE void member(long i) {
    OPAQUE(i);
#ifdef NEW
    printf("%ld!\n", record.inner[i]);
#else
    printf("%ld\n", record.inner[i]);
#endif
}

void command(const char *line) {
    int i, value;
    if (sscanf(line, "put %d %d", &i, &value) == 2) {
        values[i & 7] = value;
        puts("ok");
    }
    if (!strcmp(line, "sum"))
        printf("%d\n", sum());
    if (sscanf(line, "shifted %d", &i) == 1)
        print_shifted(i);
    if (sscanf(line, "constant %d", &i) == 1)
        printf("%d\n", constant(i));
    if (!strcmp(line, "member"))
        member(3);
}
