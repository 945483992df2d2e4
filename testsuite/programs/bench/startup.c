// Starts a program again and again, in turn without and with a preloaded library. Prints pairs of microseconds.
// Usage: startup REPETITIONS LIBRARY PROGRAM
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static double run(const char *program, char **environment) {
    char *arguments[] = {(char *)program, NULL};
    struct timespec a, b;
    pid_t pid;
    int status;
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (posix_spawn(&pid, program, NULL, NULL, arguments, environment) || waitpid(pid, &status, 0) != pid || status)
        exit(1);
    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    char preload[4096];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", argv[2]);
    char *plain[] = {"LANG=C", NULL}, *preloaded[] = {"LANG=C", preload, NULL};
    for (int i = 0; i < atoi(argv[1]); i++) {
        double without = run(argv[3], plain), with = run(argv[3], preloaded);
        printf("%.1f %.1f\n", without, with);
    }
    return 0;
}
