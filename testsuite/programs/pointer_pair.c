// Two pointers that are stored at once come from a constant of the compiler's. At fixed addresses the same bytes are other pointers in the old image.
//#Hazard: C16
//#Matrix: cc=gcc,clang opt=-O2,-O3 kind=nopie
//#Expect: safe
//#Call: set
//#Call: values
#include "scenario.h"

long first = 10, second = 20;
#ifdef NEW
long third = 30;
#define ONE second
#define TWO third
#else
#define ONE first
#define TWO second
#endif

struct pair {
    long *a, *b;
} current;

NOINLINE void set(struct pair *to) {
    to->a = &ONE;
    to->b = &TWO;
}

NOINLINE void show(void) { printf("%ld %ld\n", *current.a, *current.b); }

void command(const char *line) {
    if (!strcmp(line, "set")) {
        set(&current);
        show();
    }
    if (!strcmp(line, "values"))
        printf("%ld %ld\n", first, second);
}
