// A function that changes has the thread-local block of its library, and numbers beside other addresses that may be offsets in it as well. No
// thread-local variable moved, so a number stands for the same, whatever it is.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O2,-O1,-O3 kind=shared cflags=-ftls-model=local-dynamic
//#Expect: live
//#Call: use abcdefgh
#include "scenario.h"

static __thread int seen[400] = {5};
static __thread long total[400] = {7};
static __thread unsigned char other[300] = {9};

NOINLINE int use(const char *text, int n) {
    int sum = 0;
    for (int k = 0; k < n; k++) {
        unsigned char c = text[k];
        int times = seen[c]++;
        if (total[times & 255] > 3)
            total[c]--;
        total[(c + times) & 255] += times;
        sum += other[c];
        other[times & 127] ^= c;
        seen[sum & 255] += k;
        total[sum & 127] ^= sum;
    }
#ifdef NEW
    sum += 1000;
#endif
    return sum + seen[0] + (int)total[0];
}

void command(const char *line) {
    if (strncmp(line, "use ", 4) != 0)
        return;
    memset(seen, 0, sizeof seen);
    memset(total, 0, sizeof total);
    memset(other, 0, sizeof other);
    printf("%d\n", use(line + 4, (int)strlen(line + 4)));
}
