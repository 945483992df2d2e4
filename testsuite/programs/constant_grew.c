// Constants that grow and whose address nobody keeps: an index into them, a loop over them, a call that forgets them.
//#Hazard: D4
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[kind=nopie]: safe
//#Call: prime 2
//#Call: prime 3
//#Call: name 1
//#Call: name 2
//#Call: banner
#include "scenario.h"

#ifdef NEW
static const int primes[] = {2, 3, 5, 7};
static const char *const names[] = {"zero", "one", "two"};
static const char banner[] = "the second version";
#else
static const int primes[] = {2, 3, 5};
static const char *const names[] = {"zero", "one"};
static const char banner[] = "first";
#endif
#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

NOINLINE int prime(int i) { return i < COUNT(primes) ? primes[i] : -1; }

NOINLINE int known(const char *name) {
    for (int i = 0; i < COUNT(names); i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

NOINLINE void greet(void) { puts(banner); }

void command(const char *line) {
    int i = 0;
    if (sscanf(line, "prime %d", &i) == 1)
        printf("%d\n", prime(i));
    if (sscanf(line, "name %d", &i) == 1)
        printf("%d\n", known(i == 1 ? "one" : "two"));
    if (!strcmp(line, "banner"))
        greet();
}
