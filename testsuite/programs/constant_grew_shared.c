// Constants that grow while a live object holds the address of the old ones: new code would read those by the new length.
//#Hazard: D4,I2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: not-live
//#Warm: banner
//#Call: step 0
//#Call: step 1
//#Call: prime 2
//#Call: banner
#include "scenario.h"

typedef int (*step_function)(int);
static NOINLINE int first(int x) { return x + 1; }
static NOINLINE int second(int x) { return x + 2; }
#ifdef NEW
static NOINLINE int third(int x) { return x + 3; }
static const step_function steps[] = {first, second, third};
static const int primes[] = {2, 3, 5, 7};
static const char banner[] = "the second version";
#else
static const step_function steps[] = {first, second};
static const int primes[] = {2, 3, 5};
static const char banner[] = "first";
#endif
#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

struct holder {
    const step_function *steps;
    const int *primes;
    const char *banner;
};
static struct holder *volatile held;

static NOINLINE void hold(void) {
    struct holder *fresh = malloc(sizeof *fresh);
    fresh->steps = steps;
    fresh->primes = primes;
    fresh->banner = banner;
    held = fresh;
}

NOINLINE void step(int i) { printf("%d\n", i < COUNT(steps) ? held->steps[i](1) : -1); }
NOINLINE void prime(int i) { printf("%d\n", i < COUNT(primes) ? held->primes[i] : -1); }

void command(const char *line) {
    int i = 0;
    if (!held)
        hold();
    if (sscanf(line, "step %d", &i) == 1)
        step(i + COUNT(steps) - 2);
    if (sscanf(line, "prime %d", &i) == 1)
        prime(i + COUNT(primes) - 3);
    if (!strcmp(line, "banner")) {
        fwrite(held->banner, 1, sizeof banner - 1, stdout);
        puts("");
    }
}
