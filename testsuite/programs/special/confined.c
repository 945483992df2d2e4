// Runs a command under a filter that refuses ptrace, as hardened containers do.
//#Hazard: S7
//#Expect: live
//#Call: none
#include "scenario.h"
#include "refuse_ptrace.h"
#include <sys/wait.h>
#include <unistd.h>

static int number = EPERM;

// `errno N`: what the filter says. `run PROGRAM PID BUNDLE [OPTION]`: the exit status of `PROGRAM apply --pid PID BUNDLE [OPTION]`, and what it says.
void command(const char *line) {
    char program[1024], pid[32], bundle[1024], option[64] = "", said[4096];
    int out[2], status = 0;
    if (sscanf(line, "errno %d", &number) == 1)
        puts("done");
    if (sscanf(line, "run %1023s %31s %1023s %63s", program, pid, bundle, option) < 3 || pipe(out))
        return;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        if (refuse_ptrace(number))
            _exit(125);
        execl(program, program, "--json", "apply", "--pid", pid, bundle, *option ? option : NULL, (char *)NULL);
        _exit(126);
    }
    close(out[1]);
    size_t length = 0;
    for (ssize_t n; (n = read(out[0], said + length, sizeof said - 1 - length)) > 0;)
        length += (size_t)n;
    said[length] = 0;
    close(out[0]);
    waitpid(child, &status, 0);
    printf("%d %s\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, said);
}
