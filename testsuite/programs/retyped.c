// Variables keep their size and get another type: what they hold has the old form, so that the patch is for the start.
//#Hazard: D5
//#Matrix: cc=gcc,clang,gcc,clang opt=-O2,-O0 kind=pie,nopie,shared,pie cflags=-DELEMENTS,-DPOINTED,-DNUMBER,-DTHREAD
//#Expect: start
//#Call: add 3
//#Call: add 4
#include "scenario.h"

#ifdef NEW
#define WIDE short
#define LONG long
#define REAL float
#else
#define WIDE int
#define LONG int
#define REAL int
#endif

static WIDE elements[16 / sizeof(WIDE)];
static LONG *pointed;
static REAL number;
static __thread REAL of_thread;

// One of them changes at a time, the others keep the old build's type.
NOINLINE int add(int x) {
    int sum = 0;
#if defined ELEMENTS
    elements[1] += x;
    elements[3] += 1;
    for (unsigned i = 0; i < sizeof elements / sizeof *elements; i++)
        sum += elements[i];
#elif defined POINTED
    if (!pointed)
        pointed = calloc(8, sizeof *pointed);
    pointed[1] += x;
    pointed[3] += 1;
    for (int i = 0; i < 8; i++)
        sum += (int)pointed[i];
#elif defined NUMBER
    number += (REAL)x + (REAL)0.5;
    sum = (int)number;
#else
    of_thread += (REAL)x + (REAL)0.5;
    sum = (int)of_thread;
#endif
#ifdef NEW
    sum += 100;
#endif
    return sum;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "add %d", &x) == 1)
        printf("%d\n", add(x));
}
