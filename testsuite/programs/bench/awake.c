// Keeps every processor from going to sleep, at the lowest priority there is, until it is ended.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct sched_param none = {0};
    pid_t parent = getpid();
    if (sched_setscheduler(0, SCHED_IDLE, &none))
        return 1;
    for (long i = 1; i < processors; i++)
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                return 1;
            break;
        }
    for (;;)
        __asm__ volatile("pause");
}
