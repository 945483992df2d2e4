// A process in an odd state, chosen by name. Prints "ready" and the addresses of its marked function, then waits for a line on standard
// input, prints "alive" and ends.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

// hot calls park and returns to hot_site; spin runs inside its own body.
extern char hot[], hot_site[], hot_end[], spin[], spin_end[];
void call_hot(void);
void call_spin(void);
__asm__(".text\n.globl hot,hot_site,hot_end,call_hot,spin,spin_end,call_spin\n"
        ".type hot,@function\nhot:\n.cfi_startproc\npush %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset 6,-16\nmov %rsp,%rbp\n"
        ".cfi_def_cfa_register 6\ncall park\nhot_site:\npop %rbp\n.cfi_def_cfa 7,8\nret\n.cfi_endproc\nhot_end:\n"
        ".type call_hot,@function\ncall_hot:\n.cfi_startproc\npush %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset 3,-16\n"
        "call hot\npop %rbx\n.cfi_def_cfa_offset 8\nret\n.cfi_endproc\n"
        ".type spin,@function\nspin:\n.cfi_startproc\nnop\n1: pause\ncmpl $0,spin_stop(%rip)\nje 1b\nret\n.cfi_endproc\nspin_end:\n"
        ".type call_spin,@function\ncall_spin:\n.cfi_startproc\npush %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset 3,-16\n"
        "call spin\npop %rbx\n.cfi_def_cfa_offset 8\nret\n.cfi_endproc\n");

int spin_stop;
static atomic_int parked, released, births, in_handler;
static int go[2];

#ifdef COROUTINES
static ucontext_t main_ctx, co_ctx;
static int in_coroutine;
// What a program notes of its callers is no frame.
static void *volatile notes[4];
#endif

__attribute__((used)) void park(void) {
    char c;
#ifdef COROUTINES
    if (in_coroutine) {
        swapcontext(&co_ctx, &main_ctx);
        return;
    }
#endif
    atomic_fetch_add(&parked, 1);
    while (!atomic_load(&released) && read(go[0], &c, 1) < 0 && errno == EINTR) {}
}

static void *idle(void *a) {
    char c;
    (void)a;
    while (read(go[0], &c, 1) < 0) {}
    return NULL;
}

static void *spinner(void *a) {
    (void)a;
    for (volatile long i = 0;; i++) {}
    return NULL;
}

static void *masked(void *a) {
    sigset_t s;
    (void)a;
    sigfillset(&s);
    sigprocmask(SIG_BLOCK, &s, NULL);
    for (;;) usleep(1000);
    return NULL;
}

static void *born(void *a) {
    atomic_fetch_add(&births, 1);
    return a;
}

static void *storm(void *a) {
    for (;;) {
        pthread_t t[4];
        for (int i = 0; i < 4; i++) pthread_create(t + i, NULL, born, a);
        for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    }
    return NULL;
}

static void *vforker(void *a) {
    if (!vfork()) {
        struct timespec t = {1, 0};
        syscall(SYS_nanosleep, &t, NULL);
        _exit(0);
    }
    return idle(a);
}

static void *in_hot(void *a) {
    call_hot();
    return a;
}

static void *in_spin(void *a) {
    call_spin();
    return a;
}

// Leaves the return address behind on the stack, below frames that are still live.
__attribute__((noinline)) static void keep(volatile char *p) {
    char c;
    p[0] = 1;
    while (read(go[0], &c, 1) < 0) {}
    p[1] = 1;
}

static void *stale(void *a) {
    volatile unsigned long area[512];
    area[0] = (unsigned long)a;
    for (int i = 1; i < 512; i++) area[i] = i % 7 ? 0 : (unsigned long)hot_site;
    keep((volatile char *)area);
    return (void *)area[0];
}

static void handler(int s) {
    char c;
    (void)s;
    atomic_store(&in_handler, 1);
    while (read(go[0], &c, 1) < 0) {}
}

static void *alternate(void *a) {
    stack_t ss = {.ss_size = 65536};
    ss.ss_sp = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&ss, NULL);
    call_spin();
    return a;
}

static void *alternate_hot(void *a) {
    stack_t ss = {.ss_size = 65536};
    ss.ss_sp = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&ss, NULL);
    call_hot();
    return a;
}

static void uring(void) {
    struct io_uring_params p = {0};
    int fd = syscall(SYS_io_uring_setup, 4, &p), pp[2];
    if (fd < 0 || pipe(pp)) return;
    char *sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, 3, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
    struct io_uring_sqe *q = mmap(NULL, 4 * sizeof *q, 3, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
    static char b[16];
    memset(q, 0, sizeof *q);
    q->opcode = IORING_OP_READ;
    q->flags = IOSQE_ASYNC;
    q->fd = pp[0];
    q->addr = (unsigned long)b;
    q->len = 1;
    ((unsigned *)(sq + p.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0);
    struct io_uring_params p2 = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 100000};
    syscall(SYS_io_uring_setup, 4, &p2);
}

#ifdef COROUTINES
// Gives up control from inside hot's frame.
static void coroutine(void) {
    in_coroutine = 1;
    call_hot();
}
#endif

static void *leader_gone(void *a) {
    char line[64];
    usleep(50000);
    printf("ready %p %p %p %p %p\n", (void *)hot, (void *)hot_site, (void *)hot_end, (void *)spin, (void *)spin_end);
    fflush(stdout);
    if (fgets(line, sizeof line, stdin)) puts("alive");
    fflush(stdout);
    _exit(0);
    return a;
}

int main(int argc, char **argv) {
    char line[64];
    const char *kind = argc > 1 ? argv[1] : "idle";
    long n = argc > 2 ? atol(argv[2]) : 1;
    pthread_t t;
    pthread_attr_t at;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_attr_init(&at);
    pthread_attr_setstacksize(&at, 131072);
    if (pipe(go)) return 1;
    void *(*f)(void *) = !strcmp(kind, "idle")           ? idle
                         : !strcmp(kind, "spinner")      ? spinner
                         : !strcmp(kind, "masked")       ? masked
                         : !strcmp(kind, "storm")        ? storm
                         : !strcmp(kind, "vfork")        ? vforker
                         : !strcmp(kind, "hot")          ? in_hot
                         : !strcmp(kind, "spin")         ? in_spin
                         : !strcmp(kind, "stale")        ? stale
                         : !strcmp(kind, "alternate")    ? alternate
                         : !strcmp(kind, "alternate_hot") ? alternate_hot
                         : !strcmp(kind, "leader_gone")  ? leader_gone
                                                         : NULL;
    if (!strcmp(kind, "uring")) uring();
#ifdef COROUTINES
    char room[65536];
    notes[2] = !strcmp(kind, "noted") ? hot_site : NULL;
    if (!strcmp(kind, "coroutine") || !strcmp(kind, "nested_coroutine")) {
        getcontext(&co_ctx);
        co_ctx.uc_stack.ss_sp = *kind == 'n' ? room : malloc(65536);
        co_ctx.uc_stack.ss_size = 65536;
        co_ctx.uc_link = &main_ctx;
        makecontext(&co_ctx, coroutine, 0);
        swapcontext(&main_ctx, &co_ctx);
    }
#endif
    if (!strncmp(kind, "alternate", 9)) {
        struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
        sigaction(SIGUSR1, &sa, NULL);
    }
    for (long i = 0; f && i < n; i++)
        if (pthread_create(&t, &at, f, NULL)) return 1;
    if (!strcmp(kind, "leader_gone")) pthread_exit(NULL);
    usleep(100000);
    if (!strncmp(kind, "alternate", 9)) {
        pthread_kill(t, SIGUSR1);
        while (!atomic_load(&in_handler)) usleep(1000);
        usleep(20000);
    }
    printf("ready %p %p %p %p %p\n", (void *)hot, (void *)hot_site, (void *)hot_end, (void *)spin, (void *)spin_end);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "births", 6))
            printf("%d\n", atomic_load(&births));
        else if (!strncmp(line, "release", 7)) {
            atomic_store(&released, 1);
            spin_stop = 1;
            for (int i = 0; i < 8; i++)
                if (write(go[1], "x", 1) < 0) return 1;
            usleep(100000);
            puts("released");
        } else {
            puts("alive");
            fflush(stdout);
            break;
        }
        fflush(stdout);
    }
    _exit(0);
}
