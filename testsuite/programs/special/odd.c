// A process that puts itself into an odd state when told to: policies, namespaces, threads that can't be stopped in the usual way.
//#Hazard: S4,S7,S10
//#Expect: live
//#Call: value
//#Flags: -pthread
#define _GNU_SOURCE
#include "asleep.h"
#include "scenario.h"
#include "threads.h"
#include "refuse_ptrace.h"
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_int started, interrupted, handled;
static int gate[2];

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

// Stays inside until a byte comes.
NOINLINE int waiting(int x) {
    char byte;
    while (x && read(gate[0], &byte, 1) < 0)
        atomic_fetch_add(&interrupted, 1);
#ifdef NEW
    return x + 200;
#else
    return x + 2;
#endif
}

static void say(int failed) {
    puts(failed ? strerror(errno) : "done");
}

static void start(void *(*body)(void *), long n, size_t stack) {
    int before = atomic_load(&started);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack);
    for (long i = 0; i < n; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, body, NULL))
            abort();
    }
    while (atomic_load(&started) < before + n)
        usleep(1000);
    usleep(20000);
    puts("done");
}

static void *idle(void *unused) {
    char byte;
    (void)unused;
    atomic_fetch_add(&started, 1);
    while (read(gate[0], &byte, 1) < 0)
        atomic_fetch_add(&interrupted, 1);
    return NULL;
}

static void *masked(void *unused) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    return idle(unused);
}

static void *deep(void *unused) {
    char room[48 << 20];
    for (size_t i = 0; i < sizeof room; i += 4096)
        room[i] = 1;
    OPAQUE(unused);
    idle(room);
    return room[4096] ? unused : NULL;
}

static void *vfork_waiter(void *unused) {
    atomic_fetch_add(&started, 1);
    if (!vfork()) {
        struct timespec time = {0, 700000000};
        syscall(SYS_nanosleep, &time, NULL);
        _exit(0);
    }
    return idle(unused);
}

// A process in the same memory that isn't a thread, and calls the function all the time.
static atomic_int parted;
static pid_t partner;

static int calls(void *unused) {
    (void)unused;
    while (!atomic_load(&parted))
        value(1);
    return 0;
}

static void share(void) {
    static char stack[65536];
    partner = clone(calls, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
    say(partner < 0);
}

static void part(void) {
    atomic_store(&parted, 1);
    say(waitpid(partner, NULL, 0) != partner);
}

// Runs without end, before all ordinary threads.
static void *hasty(void *unused) {
    (void)unused;
    atomic_fetch_add(&started, 1);
    for (;;)
        atomic_load(&started);
    return NULL;
}

static void real_time(long n) {
    // The first thread stays before them, to answer.
    struct sched_param most = {.sched_priority = 60};
    if (sched_setscheduler(0, SCHED_FIFO, &most)) {
        puts("none");
        return;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
    most.sched_priority = 50;
    pthread_attr_setschedparam(&attributes, &most);
    for (long i = 0; i < n; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, hasty, NULL))
            abort();
    }
    puts("done");
}

static void on_signal(int unused) {
    char byte;
    (void)unused;
    atomic_fetch_add(&handled, 1);
    while (read(gate[0], &byte, 1) < 0) {
    }
}

static void *on_alternate_stack(void *inside) {
    stack_t stack = {.ss_size = 65536, .ss_sp = malloc(65536)};
    sigaltstack(&stack, NULL);
    atomic_fetch_add(&started, 1);
    if (inside)
        waiting(1);
    else
        pause();
    return NULL;
}

static void interrupt_one(int inside) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread = start_thread(on_alternate_stack, inside ? gate : NULL);
    until_others_sleep();
    pthread_kill(thread, SIGUSR1);
    while (!atomic_load(&handled))
        usleep(1000);
    puts("done");
}

// A worker of the kernel that sits in a read, a polling thread of the kernel, and a thread that waits for completions.
static int uring;
static unsigned *completed;
static struct io_uring_cqe *completion;

static void *completions(void *unused) {
    (void)unused;
    atomic_fetch_add(&started, 1);
    while (syscall(SYS_io_uring_enter, uring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno == EINTR)
        atomic_fetch_add(&interrupted, 1);
    return NULL;
}

static void use_uring(void) {
    struct io_uring_params p = {0}, polling = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 100000};
    static char byte;
    uring = (int)syscall(SYS_io_uring_setup, 4, &p);
    if (uring < 0) {
        puts("none");
        return;
    }
    size_t length = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    char *ring = mmap(NULL, length < 4096 ? 4096 : length, 3, MAP_SHARED, uring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(NULL, 4 * sizeof *entry, 3, MAP_SHARED, uring, IORING_OFF_SQES);
    completed = (unsigned *)(ring + p.cq_off.tail);
    completion = (struct io_uring_cqe *)(ring + p.cq_off.cqes);
    *entry = (struct io_uring_sqe){.opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = gate[0], .len = 1};
    entry->addr = (unsigned long)&byte;
    ((unsigned *)(ring + p.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(ring + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    syscall(SYS_io_uring_enter, uring, 1, 0, 0, NULL, 0);
    syscall(SYS_io_uring_setup, 4, &polling);
    start(completions, 1, 65536);
}

// Allows what the driver needs, and nothing that the loader would need besides.
static void filter(unsigned action) {
    static const int allowed[] = {SYS_read,  SYS_write,        SYS_futex,      SYS_exit,           SYS_exit_group, SYS_rt_sigreturn,
                                  SYS_brk,   SYS_newfstatat,   SYS_fstat,      SYS_restart_syscall};
    enum { COUNT = sizeof allowed / sizeof *allowed };
    struct sock_filter code[COUNT + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (int i = 0; i < COUNT; i++)
        code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], COUNT - i, 0);
    code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    code[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {COUNT + 3, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    say(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

// The program takes all calls that the C library doesn't make.
static void take_calls(void) {
    static char blocks = 1;
    Dl_info library;
    struct link_map *map;
    const ElfW(Ehdr) *header;
    unsigned long start = 0, length = 0;
    if (!dladdr1((void *)read, &library, (void **)&map, RTLD_DL_LINKMAP))
        abort();
    header = library.dli_fbase;
    const ElfW(Phdr) *segment = (void *)((char *)header + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && segment[i].p_flags & PF_X)
            start = map->l_addr + segment[i].p_vaddr, length = segment[i].p_memsz;
    say(prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, start, length, &blocks));
}

// Somebody listens at an abstract address.
static void listen_at(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path + 1, name, length);
    int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    say(bind(socket_, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length) || listen(socket_, 4));
}

// Goes on in a child that is the first process of new namespaces; tells its pid as seen from outside.
static void unshare_all(void) {
    int told[2], status;
    char byte;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) || pipe(told)) {
        puts("none");
        return;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child) {
        printf("%d\n", child);
        fflush(stdout);
        if (write(told[1], "x", 1) != 1 || waitpid(child, &status, 0) != child)
            _exit(1);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(told[0], &byte, 1) != 1)
        _exit(1);
}

// Leaves room for `left` more mappings.
static void fill_maps(long left) {
    size_t page = 4096, length = page * 200000;
    char *area = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t at = page;
    // Every other page of its own kind: two more mappings each.
    while (at + 2 * page < length && !mprotect(area + at, page, PROT_NONE))
        at += 2 * page;
    for (; left > 0; left -= 2) {
        at -= 2 * page;
        mprotect(area + at, page, PROT_READ);
    }
    puts("done");
}

static void *rest(void *unused) {
    char line[512];
    (void)unused;
    usleep(50000);
    puts("done\n.");
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        command(line);
        puts(".");
    }
    exit(0);
}

void command(const char *line) {
    long n = 0;
    char path[256];
    if (!gate[1] && pipe(gate))
        abort();
    if (!strcmp(line, "value"))
        printf("%d %d\n", value(1), waiting(0));
    if (!strcmp(line, "interrupted"))
        printf("%d\n", atomic_load(&interrupted));
    if (!strcmp(line, "mdwe"))
        say(prctl(65 /* PR_SET_MDWE */, 1 /* PR_MDWE_REFUSE_EXEC_GAIN */, 0, 0, 0));
    if (!strcmp(line, "no new privileges"))
        say(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (!strcmp(line, "filter errno"))
        filter(SECCOMP_RET_ERRNO | EPERM);
    if (!strcmp(line, "filter kill"))
        filter(SECCOMP_RET_KILL_PROCESS);
    if (!strcmp(line, "strict"))
        say(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
    if (!strcmp(line, "take calls"))
        take_calls();
    if (!strcmp(line, "filter ptrace"))
        say(refuse_ptrace(EPERM));
    if (!strcmp(line, "nobody"))
        say(setgroups(0, NULL) || setgid(65534) || setuid(65534));
    if (sscanf(line, "listen %107s", path) == 1)
        listen_at(path);
    if (sscanf(line, "chroot %255s", path) == 1)
        say(chroot(path) || chdir("/"));
    if (sscanf(line, "proc %255s", path) == 1)
        say(unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("proc", path, "proc", 0, NULL));
    if (!strcmp(line, "unshare"))
        unshare_all();
    if (sscanf(line, "maps %ld", &n) == 1)
        fill_maps(n);
    if (sscanf(line, "idle %ld", &n) == 1)
        start(idle, n, 65536);
    if (sscanf(line, "masked %ld", &n) == 1)
        start(masked, n, 65536);
    if (!strcmp(line, "deep"))
        start(deep, 1, 64 << 20);
    if (!strcmp(line, "vfork"))
        start(vfork_waiter, 1, 65536);
    if (!strcmp(line, "share"))
        share();
    if (!strcmp(line, "part"))
        part();
    if (sscanf(line, "real time %ld", &n) == 1)
        real_time(n);
    if (!strcmp(line, "uring"))
        use_uring();
    if (!strcmp(line, "completed"))
        printf("%u %d\n", __atomic_load_n(completed, __ATOMIC_ACQUIRE), completion->res);
    if (!strcmp(line, "handler"))
        interrupt_one(0);
    if (!strcmp(line, "handler inside"))
        interrupt_one(1);
    if (sscanf(line, "release %ld", &n) == 1) {
        while (n--)
            if (write(gate[1], "x", 1) != 1)
                abort();
        usleep(100000);
        puts("done");
    }
    if (!strcmp(line, "leader")) {
        start_thread(rest, NULL);
        pthread_exit(NULL);
    }
}
