// A parent with children that answer for themselves, as a prefork server has: born when it is told to, or when a signal comes.
//#Hazard: S10
//#Expect: live
//#Call: value
#include "scenario.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    pid_t pid;
    int to, from;
} children[8];
static int count;

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void serve(int from, int to) {
    char byte;
    while (read(from, &byte, 1) == 1) {
        int answer = value(byte);
        if (write(to, &answer, sizeof answer) != sizeof answer)
            break;
    }
    _exit(0);
}

static pid_t bear(void) {
    int down[2], up[2];
    if (count == 8 || pipe(down) || pipe(up))
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        close(down[1]);
        close(up[0]);
        serve(down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    children[count++] = (struct child){pid, down[1], up[0]};
    return pid;
}

static void on_signal(int unused) {
    (void)unused;
    bear();
}

void command(const char *line) {
    int i;
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "fork"))
        printf("%d\n", bear());
    if (!strcmp(line, "at signal")) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        sigaction(SIGUSR1, &action, NULL);
    }
    if (!strcmp(line, "last"))
        printf("%d\n", count ? children[count - 1].pid : 0);
    if (sscanf(line, "child %d", &i) == 1 && i < count) {
        int answer = -1;
        if (write(children[i].to, "\1", 1) != 1 || read(children[i].from, &answer, sizeof answer) != sizeof answer)
            answer = -1;
        printf("%d\n", answer);
    }
}
