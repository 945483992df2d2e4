// Runs a command under a filter that refuses ptrace, as hardened containers do.
//#Hazard: S7
//#Expect: live
//#Call: none
#include "scenario.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void refuse_ptrace(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(125);
}

// `run PROGRAM PID BUNDLE`: the exit status of `PROGRAM apply --pid PID BUNDLE`, and what it says.
void command(const char *line) {
    char program[1024], pid[32], bundle[1024], said[4096];
    int out[2], status = 0;
    if (sscanf(line, "run %1023s %31s %1023s", program, pid, bundle) != 3 || pipe(out))
        return;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        refuse_ptrace();
        execl(program, program, "--json", "apply", "--pid", pid, bundle, (char *)NULL);
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
