// In an image at fixed addresses, data is reached by 32-bit absolute operands, in displacements and immediates.
//#Hazard: C16
//#Matrix: cc=gcc,clang opt=-O0,-O2,-O3 kind=nopie
//#Expect: live
//#Warm: put 2 9
//#Call: sum 3
//#After: name 1 => one!
//#After: sum 5 => 121
//#Reverted: name 1 => one
#include "scenario.h"

static int table[16] = {1, 2, 3, 4, 5, 6, 7, 8};
static const char *names[] = {"zero", "one", "two", "three"};
static char buffer[64];

NOINLINE int sum(int n) {
    int total = 0;
    for (int i = 0; i < n; i++)
        total += table[i & 15];
#ifdef NEW
    total += 100 * (table != NULL);
#endif
    return total;
}

NOINLINE const char *name(int i) {
#ifdef NEW
    snprintf(buffer, sizeof buffer, "%s!", names[i & 3]);
#else
    snprintf(buffer, sizeof buffer, "%s", names[i & 3]);
#endif
    return buffer;
}

void command(const char *line) {
    int i, value;
    if (sscanf(line, "put %d %d", &i, &value) == 2)
        table[i & 15] = value;
    if (sscanf(line, "sum %d", &i) == 1)
        printf("%d\n", sum(i) + (table[2] == 9 ? 0 : 6));
    if (sscanf(line, "name %d", &i) == 1)
        puts(name(i));
}
