// The address of a variable, out of a slot, and the variable's value are loaded by instructions that differ in nothing but where they read.
//#Hazard: C9
//#Matrix: cc=gcc,clang opt=-O2,-O1 kind=pie
//#Flags: -fPIC -Wl,--no-relax
//#Units: 2
//#Expect: live
//#Call: key
#include "scenario.h"

#if UNIT == 2
long value = 42;
#else
#ifdef NEW
extern long value __attribute__((visibility("hidden")));
NOINLINE long key(void) { return value; }
#else
extern long value;
NOINLINE long key(void) { return (long)&value; }
#endif

void command(const char *line) {
    if (!strcmp(line, "key"))
        puts(key() == 42 ? "42" : "an address");
}
#endif
