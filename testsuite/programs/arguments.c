// Many arguments of every class, structures by value in and out: all survive the detour.
//#Hazard: C1
//#Matrix: cc=gcc,clang opt=-O0,-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: go
#include "scenario.h"

struct big {
    long a, b, c;
    char text[16];
};
struct small {
    int x;
    float y;
};

NOINLINE struct big mix(int a, long b, char c, short d, double e, float f, struct small s, struct big g, long double h, int i, int j,
                        double k, const char *l) {
    struct big out = g;
    out.a = a + b + c + d;
    out.b = (long)(e * 10 + (double)f * 100 + (double)h + k);
    out.c = i * j + s.x + (long)s.y + (long)strlen(l);
#ifdef NEW
    out.c = -out.c;
    snprintf(out.text, sizeof out.text, "%.3s+%s", g.text, "new");
#else
    snprintf(out.text, sizeof out.text, "%s", g.text);
#endif
    return out;
}

void command(const char *line) {
    if (strcmp(line, "go"))
        return;
    struct big g = {1, 2, 3, "sample"};
    struct small s = {9, 2.5f};
    struct big r = mix(1, 20000000000L, 3, -4, 5.5, 6.25f, s, g, 7.75L, 8, 9, 10.5, "eleven");
    printf("%ld %ld %ld %s\n", r.a, r.b, r.c, r.text);
}
