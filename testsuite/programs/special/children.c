// A parent with children that answer for themselves, as a prefork server has.
//#Hazard: S10
//#Expect: live
//#Call: value
#include "scenario.h"
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

void command(const char *line) {
    int i;
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "fork") && count < 8) {
        int down[2], up[2];
        if (pipe(down) || pipe(up))
            abort();
        pid_t pid = fork();
        if (pid == 0) {
            close(down[1]);
            close(up[0]);
            serve(down[0], up[1]);
        }
        close(down[0]);
        close(up[1]);
        children[count] = (struct child){pid, down[1], up[0]};
        printf("%d\n", pid);
        count++;
    }
    if (sscanf(line, "child %d", &i) == 1 && i < count) {
        int answer = -1;
        if (write(children[i].to, "\1", 1) != 1 || read(children[i].from, &answer, sizeof answer) != sizeof answer)
            answer = -1;
        printf("%d\n", answer);
    }
}
