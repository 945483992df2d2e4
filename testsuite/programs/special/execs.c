// Replaces its program by itself again and again, if it is told to at the start.
//#Hazard: S4,S10
//#Expect: live
//#Call: value
#include "scenario.h"
#include <time.h>
#include <unistd.h>

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "go on")) {
        setenv("GO_ON", "yes", 1);
        puts("begun");
        puts(".");
        fflush(stdout);
        execl("/proc/self/exe", "execs", NULL);
    }
}

__attribute__((constructor)) static void again(void) {
    struct timespec time = {0, 20000000};
    if (!getenv("GO_ON"))
        return;
    nanosleep(&time, NULL);
    execl("/proc/self/exe", "execs", NULL);
}
