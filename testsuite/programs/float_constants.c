// Floating-point constants live in merged pools; vector constants too.
//#Hazard: C17,D4
//#Matrix: cc=gcc,clang opt=-O0,-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: gross 100
//#Call: norm 3
#include "scenario.h"

NOINLINE double gross(double net) {
#ifdef NEW
    return net * 1.21 + 0.125f;
#else
    return net * 1.19;
#endif
}

NOINLINE float norm(float x) {
    float v[8], total = 0;
    for (int i = 0; i < 8; i++)
        v[i] = x * (float)i;
    for (int i = 0; i < 8; i++)
#ifdef NEW
        total += v[i] < 0 ? -v[i] : v[i] * 1.5f;
#else
        total += v[i] < 0 ? -v[i] : v[i];
#endif
    return total;
}

void command(const char *line) {
    double x;
    if (sscanf(line, "gross %lf", &x) == 1)
        printf("%.4f\n", gross(x));
    if (sscanf(line, "norm %lf", &x) == 1)
        printf("%.4f\n", (double)norm((float)x));
}
