// A unit with objects that are constructed before `main` gains one, and another one's arguments change: at start all of them are constructed
// by the new code, a library's too.
//#Hazard: D10
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared
//#Expect: start
//#Expect[cc=gcc]: not-live
//#Expect[kind=nopie]: not-live
//#Call: limits 2
//#Call: name
#include "scenario.h"
#include <map>
#include <string>

// Initialisers don't refer to the arrays, so that what follows one is plainly meant by its own address.
int before[8];
static std::map<int, int> limits{{1, 10}, {2, 20}};
int between[8];
#ifdef NEW
static std::string name = "the new name, too long for the object itself";
int behind[8];
static std::map<int, int> more{{1, 1000}, {2, 2000}};
int last[8];
#else
static std::string name = "the old name";
#endif

NOINLINE int limit(int which) {
#ifdef NEW
    return limits[which] + more[which];
#else
    return limits[which];
#endif
}

extern "C" void command(const char *line) {
    int which = 0;
    if (sscanf(line, "limits %d", &which) == 1)
        printf("%d\n", limit(which));
    if (!strcmp(line, "name"))
        printf("%s\n", name.c_str());
}
