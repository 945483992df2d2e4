// A virtual function that is reached through thunks, into which compilers copy it: no debug information says anything of a thunk, that of its
// function does.
//#Hazard: D8,C21
//#Matrix: cc=gcc-11,gcc-12,clang opt=-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Flags: -ffunction-sections
//#Call: id
#include "scenario.h"

struct Base {
    int base = 10;
    virtual int id() const { return 1; }
    virtual ~Base() = default;
};
struct Left : virtual Base {
    int id() const override { return base + 2; }
};
struct Right : virtual Base {
    virtual int right() const { return 30; }
    int spare = 3;
};
struct Both : Left, Right {
#ifdef NEW
    int id() const override { return 40 + base; }
#else
    int id() const override { return 4; }
#endif
};
Base *volatile object = new Both;
Right *volatile second = new Both;

void command(const char *line) {
    if (!strcmp(line, "id"))
        printf("%d %d %d\n", object->id(), second->id(), second->right());
}
