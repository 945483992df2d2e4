// A class overrides a virtual function that it inherited: its table leads to one that takes another `this`, and nothing but the table does.
//#Hazard: D8
//#Matrix: cc=clang,gcc opt=-O2,-O1 kind=pie,nopie
//#Expect: live
//#Warm: new
//#After: ask => 3 7 1001
//#Reverted: ask => 3 7 2
#include "scenario.h"
#include <memory>

struct root {
    int n = 1;
    virtual ~root() {}
    virtual int first() { return n; }
};

struct left : virtual root {
    int l = 2;
    int first() override { return n + l; }
    virtual int second() { return l; }
};

struct right : virtual root {
    int r = 3;
    virtual int third() { return r; }
};

struct both : left, right {
    int b = 4;
    int third() override { return b + r; }
#ifdef NEW
    int second() override { return 1000 + n; }
#endif
};

static std::unique_ptr<root> kept;

void command(const char *line) {
    if (!strcmp(line, "new")) {
        kept = std::make_unique<both>();
        puts("made");
    }
    if (!strcmp(line, "ask")) {
        printf("%d ", kept->first());
        if (auto *r = dynamic_cast<right *>(kept.get()))
            printf("%d ", r->third());
        if (auto *l = dynamic_cast<left *>(kept.get()))
            printf("%d\n", l->second());
    }
}
