// New code at fixed addresses takes the address of another module's function, which the old build only calls: its stub there is nobody else's idea of it.
//#Hazard: C10,I1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=nopie,pie ld=bfd,lld
//#Flags: -D_GNU_SOURCE
//#Expect: live
//#Expect[kind=nopie]: safe
//#Call: go 3
#include "scenario.h"
#include <dlfcn.h>
#include <unistd.h>

NOINLINE int go(int x) {
#ifdef NEW
    pid_t (*volatile own)(void) = getppid;
    pid_t (*theirs)(void) = (pid_t(*)(void))dlsym(RTLD_DEFAULT, "getppid");
    if (own == theirs)
        x += 100;
#endif
    return x + (getppid() != 0);
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d\n", go(x));
}
