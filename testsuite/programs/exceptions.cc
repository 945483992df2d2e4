// Exceptions thrown through, from and into patched frames; the new build catches what the old one let pass.
//#Hazard: C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
// At fixed addresses the new build has copies of type information of another library, and holds their addresses in 32 bits: no old copy
// is there, and the library itself is out of reach.
//#Expect[kind=nopie]: safe
//#Call: run 0
//#Call: run 1
//#Call: run 2
//#Call: run 3
#include "scenario.h"
#include <stdexcept>
#include <string>

struct Witness {
    const char *name;
    ~Witness() { printf("end of %s\n", name); }
};

NOINLINE int thrower(int kind) {
    if (kind == 1)
        throw 42;
    if (kind == 2)
        throw std::runtime_error("runtime");
    if (kind == 3)
        throw std::string("text");
    return kind;
}

NOINLINE int middle(int kind) {
    Witness witness{"middle"};
#ifdef NEW
    Witness second{"second"};
    try {
        return thrower(kind) + 100;
    } catch (int value) {
        printf("newly caught %d\n", value);
        return value;
    } catch (const std::string &text) {
        throw std::logic_error("from the patch: " + text);
    }
#else
    return thrower(kind);
#endif
}

NOINLINE int outer(int kind) {
    Witness witness{"outer"};
    try {
        return middle(kind);
    } catch (const std::exception &error) {
        printf("outer: %s\n", error.what());
        return -1;
    }
}

extern "C" void command(const char *line) {
    int kind = 0;
    if (sscanf(line, "run %d", &kind) != 1)
        return;
    try {
        printf("%d\n", outer(kind));
    } catch (...) {
        puts("caught in command");
    }
}
