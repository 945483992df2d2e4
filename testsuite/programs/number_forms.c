// Numbers of one size that are stored in different ways: another order of bytes, another float of 16 bytes.
//#Hazard: D6
//#Matrix: cc=gcc opt=-O2,-O0 kind=pie cflags=-DORDER,-DQUAD,-DSAME
//#Expect: start
//#Expect[cflags=-DSAME]: live
//#Call: add 3
//#Call: add 4
#include "scenario.h"

#if defined NEW && defined ORDER
#define STORED __attribute__((scalar_storage_order("big-endian")))
#else
#define STORED
#endif

#if defined NEW && defined QUAD
typedef __float128 real;
#else
typedef long double real;
#endif

struct STORED total {
    int count;
    short kind;
};

struct sum {
    real value;
};

static struct total *total;
static struct sum *sum;
// Both builds can reckon with them.
volatile __float128 other;

NOINLINE int add(int x) {
    if (!total) {
        total = calloc(1, sizeof *total);
        sum = calloc(1, sizeof *sum);
    }
#ifdef SAME
    *total = (struct total){0, 0};
    sum->value = 0;
#endif
    other += x;
    total->count += x;
    total->kind++;
    sum->value += x;
    if ((int)other < 0)
        return -1;
#ifdef NEW
    return total->count * 2000 + total->kind * 100 + (int)sum->value;
#else
    return total->count * 1000 + total->kind * 100 + (int)sum->value;
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "add %d", &x) == 1)
        printf("%d\n", add(x));
}
