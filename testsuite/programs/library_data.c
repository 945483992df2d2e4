// Data of other libraries: streams, the environment, errno; copy relocations in images at fixed addresses.
//#Hazard: D1,C10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: go
#include "scenario.h"
#include <errno.h>
extern char **environ;

NOINLINE void go(void) {
    fprintf(stdout, "environment %s\n", environ && environ[0] ? "there" : "empty");
#ifdef NEW
    errno = 0;
    if (fseek(stdin, 1, SEEK_SET) != 0)
        fprintf(stdout, "stdin is a pipe: %s\n", errno == ESPIPE ? "yes" : "no");
    fputs("done\n", stdout);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "go"))
        go();
}
