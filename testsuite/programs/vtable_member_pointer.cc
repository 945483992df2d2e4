// Virtual functions change places while a pointer to a member function is stored, which holds a place in the table.
//#Hazard: D8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Flags: -fvisibility=hidden
//#Expect: not-live
//#Call: go
#include "scenario.h"

struct Base {
    virtual ~Base() {}
#ifdef NEW
    virtual int second() { return 20; }
    virtual int first() { return 10; }
#else
    virtual int first() { return 1; }
    virtual int second() { return 2; }
#endif
};

static Base *object;
static int (Base::*stored)();

extern "C" __attribute__((visibility("default"))) void command(const char *line) {
    if (!object) {
        object = new Base;
        stored = &Base::second;
    }
    if (!strcmp(line, "go"))
        printf("%d\n", (object->*stored)());
}
