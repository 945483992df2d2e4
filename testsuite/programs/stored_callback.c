// The address of the patched function was handed to the C library before the patch.
//#Hazard: I1,D13
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: sort
#include "scenario.h"

static int by_value(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
#ifdef NEW
    return (x < y) - (x > y);
#else
    return (x > y) - (x < y);
#endif
}

static int (*volatile order)(const void *, const void *) = by_value;

void command(const char *line) {
    if (strcmp(line, "sort"))
        return;
    int v[] = {5, 1, 4, 2, 3};
    qsort(v, 5, sizeof *v, order);
    for (int i = 0; i < 5; i++)
        printf("%d%c", v[i], i == 4 ? '\n' : ' ');
}
