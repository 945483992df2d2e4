// The same as struct_grew.c in a library with constructors and thousands of addresses for the dynamic linker to fill in: the one that its
// start-up files call the loader through comes behind all of these.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2 kind=shared
//#Expect: start
//#Call: list
#include "struct_grew.c"

static const char *const names[5000] = {[0 ... 4999] = "x"};
static const char *const *volatile first;

__attribute__((constructor)) static void before(void) {
    first = names;
}
