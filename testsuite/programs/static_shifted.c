// A static program whose code grows: everything behind it moves, the C library too. That counts with absolute symbols which of its locales
// are used (words of the GOT that hold a number), and holds nameless objects that only other data point to. What jumps out of functions
// (`longjmp`) is no switch of stacks there, so words that are left over on the stack don't count.
//#Hazard: C10,S1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=static,static-pie ld=bfd,lld
//#Expect: live
//#Warm: add 4
//#Call: weigh 7
//#Call: weigh 3
//#After: add 1 => 5 2.50
#include "scenario.h"
#include <locale.h>
#include <setjmp.h>

struct scale {
    int factor;
    const char *unit;
};

// Compound literals outside of functions: objects without a name of their own.
static struct scale *const scales[] = {&(struct scale){2, "lb"}, &(struct scale){3, "kg"}};
static jmp_buf out;
static int total;

NOINLINE static void check(int x) {
    if (x > 5)
        longjmp(out, x);
}

NOINLINE static int weigh(int x) {
    char text[40];
#ifdef NEW
    if (x == 3) {
        snprintf(text, sizeof text, "%d stone", x * 7);
        printf("%s, ", text);
    }
    struct scale *s = scales[1];
#else
    struct scale *s = scales[0];
#endif
    int n = snprintf(text, sizeof text, "%d %s", x * s->factor, s->unit);
    printf("%s %d\n", text, n);
    return n;
}

NOINLINE static int add(int x) {
    total += x;
    return total;
}

void command(const char *line) {
    int x = 0;
    if (sscanf(line, "weigh %d", &x) == 1) {
        if (!setjmp(out))
            check(weigh(x));
    } else if (sscanf(line, "add %d", &x) == 1) {
        int sum = add(x);
        printf("%d %.2f\n", sum, sum / 2.0);
    }
}
