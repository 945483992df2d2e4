// The flags that distributions build with, each of which changes the shape of an entry or an exit.
//#Hazard: C19
//#Matrix: cc=gcc opt=-O2 kind=pie,shared cflags=-fstack-protector-all,-fcf-protection=full,-fstack-clash-protection,-D_FORTIFY_SOURCE=2,-fpatchable-function-entry=8+-fcf-protection=full,-mindirect-branch=thunk,-fno-omit-frame-pointer,-ffunction-sections+-fdata-sections
//#Expect: live
//#Call: join 3
//#Call: join 12
#include "scenario.h"

typedef int (*step)(int);
NOINLINE static int plus(int x) {
    return x + 1;
}
static step volatile chosen = plus;

NOINLINE int join(char *out, size_t size, int n) {
    char text[64] = "";
    for (int i = 0; i < n; i++) {
        char part[16];
        snprintf(part, sizeof part, "%d,", chosen(i));
#ifdef NEW
        if (strlen(text) + strlen(part) >= 20)
            break;
#endif
        strcat(text, part);
    }
    strncpy(out, text, size - 1);
    out[size - 1] = 0;
    return (int)strlen(out);
}

void command(const char *line) {
    int n;
    char out[64];
    if (sscanf(line, "join %d", &n) == 1)
        printf("%d %s\n", join(out, sizeof out, n), out);
}
