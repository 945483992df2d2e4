// One blocking system call per run: `calls NAME` prints "ready", blocks for MS milliseconds in a worker thread (by its own timeout, or until main
// releases it), and prints the result, errno and the milliseconds it took. `calls` alone lists the names. With a second argument SIGUSR1 has a
// handler that interrupts calls.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MS
#define MS 600
#endif

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int p[2], sp[2], ef, ep, tfd, sfd, ino, msgq, semid, lst, fl, flh, ur, fut, futpi;
static mqd_t mq;
static aio_context_t aio;
static sem_t sm;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cv = PTHREAD_COND_INITIALIZER;
static volatile int flag;
static struct timespec LIMIT = {MS / 1000, MS % 1000 * 1000000L}, rem_;
static char buf[1 << 20];
static pid_t chld;

static struct timespec abs_(clockid_t c) {
    struct timespec t;
    clock_gettime(c, &t);
    t.tv_sec += LIMIT.tv_sec;
    t.tv_nsec += LIMIT.tv_nsec;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

#define W(n,...) static long w_##n(void){__VA_ARGS__}
#define R(n,...) static void r_##n(void){__VA_ARGS__}
R(none,)
W(read_pipe,return read(p[0],buf,1);) R(pipe,if(write(p[1],"x",1)){})
W(write_fullpipe,return write(p[1],buf,1);) R(drain,if(read(p[0],buf,65536)){})
W(recv_sock,return recv(sp[0],buf,1,0);) R(sock,send(sp[1],"x",1,0);)
W(recv_timeo,struct timeval tv={MS/1000,MS%1000*1000};setsockopt(sp[0],SOL_SOCKET,SO_RCVTIMEO,&tv,sizeof tv);return recv(sp[0],buf,1,0);)
W(recvmmsg_to,struct mmsghdr m={0};struct iovec v={buf,10};m.msg_hdr.msg_iov=&v;m.msg_hdr.msg_iovlen=1;return syscall(SYS_recvmmsg,sp[0],&m,1,0,&LIMIT);)
W(accept,return accept(lst,0,0);) R(conn,struct sockaddr_in a;socklen_t l=sizeof a;getsockname(lst,(void*)&a,&l);int s=socket(AF_INET,SOCK_STREAM,0);connect(s,(void*)&a,l);)
W(poll,struct pollfd f={p[0],POLLIN,0};return syscall(SYS_poll,&f,1,MS);)
W(poll_inf,struct pollfd f={p[0],POLLIN,0};return syscall(SYS_poll,&f,1,-1);)
W(ppoll,struct pollfd f={p[0],POLLIN,0};struct timespec t=LIMIT;return syscall(SYS_ppoll,&f,1,&t,NULL,8);)
W(select,fd_set s;FD_ZERO(&s);FD_SET(p[0],&s);struct timeval tv={MS/1000,MS%1000*1000};return syscall(SYS_select,p[0]+1,&s,0,0,&tv);)
W(pselect,fd_set s;FD_ZERO(&s);FD_SET(p[0],&s);struct timespec t=LIMIT;return syscall(SYS_pselect6,p[0]+1,&s,0,0,&t,NULL);)
W(epoll_wait,struct epoll_event e;return syscall(SYS_epoll_wait,ep,&e,1,MS);)
W(epoll_wait_inf,struct epoll_event e;return syscall(SYS_epoll_wait,ep,&e,1,-1);)
W(epoll_pwait,struct epoll_event e;return syscall(SYS_epoll_pwait,ep,&e,1,MS,NULL,8);)
W(epoll_pwait2,struct epoll_event e;return syscall(SYS_epoll_pwait2,ep,&e,1,&LIMIT,NULL,8);)
W(nanosleep,return syscall(SYS_nanosleep,&LIMIT,&rem_);)
W(nanosleep_norem,return syscall(SYS_nanosleep,&LIMIT,NULL);)
W(clock_ns_rel,return syscall(SYS_clock_nanosleep,CLOCK_MONOTONIC,0,&LIMIT,NULL);)
W(clock_ns_abs,struct timespec t=abs_(CLOCK_MONOTONIC);return syscall(SYS_clock_nanosleep,CLOCK_MONOTONIC,TIMER_ABSTIME,&t,NULL);)
W(libc_usleep,return usleep(MS*1000);)
W(futex_wait,return syscall(SYS_futex,&fut,FUTEX_WAIT,0,NULL,NULL,0);) R(futex,syscall(SYS_futex,&fut,FUTEX_WAKE,1,0,0,0);)
W(futex_wait_to,return syscall(SYS_futex,&fut,FUTEX_WAIT,0,&LIMIT,NULL,0);)
W(futex_bitset_abs,struct timespec t=abs_(CLOCK_MONOTONIC);return syscall(SYS_futex,&fut,FUTEX_WAIT_BITSET,0,&t,NULL,-1);)
W(futex_lock_pi,return syscall(SYS_futex,&futpi,FUTEX_LOCK_PI,0,NULL,NULL,0);) R(futexpi,syscall(SYS_futex,&futpi,FUTEX_UNLOCK_PI,0,0,0,0);)
W(futex_waitv,struct futex_waitv v={0,(unsigned long)&fut,FUTEX_32,0};struct timespec t=abs_(CLOCK_MONOTONIC);return syscall(449,&v,1,0,&t,CLOCK_MONOTONIC);)
W(pthread_cond,pthread_mutex_lock(&mu);while(!flag)pthread_cond_wait(&cv,&mu);pthread_mutex_unlock(&mu);return 0;) R(cond,pthread_mutex_lock(&mu);flag=1;pthread_cond_signal(&cv);pthread_mutex_unlock(&mu);)
W(sem_wait,return sem_wait(&sm);) R(sem,sem_post(&sm);)
W(sem_timedwait,struct timespec t=abs_(CLOCK_REALTIME);return sem_timedwait(&sm,&t);)
W(sigtimedwait,sigset_t s;sigemptyset(&s);sigaddset(&s,SIGUSR2);return syscall(SYS_rt_sigtimedwait,&s,NULL,&LIMIT,8);)
W(sigwaitinfo,sigset_t s;sigemptyset(&s);sigaddset(&s,SIGUSR2);return syscall(SYS_rt_sigtimedwait,&s,NULL,NULL,8);) R(usr2,kill(getpid(),SIGUSR2);)
W(libc_sigwait,sigset_t s;sigemptyset(&s);sigaddset(&s,SIGUSR2);int g;return sigwait(&s,&g);)
W(wait4,int st;return syscall(SYS_wait4,chld,&st,0,NULL)==chld?0:-1;)
W(waitid,siginfo_t s;return waitid(P_PID,chld,&s,WEXITED);)
W(msgrcv,struct{long t;char c[8];}m;return msgrcv(msgq,&m,8,0,0);) R(msg,struct{long t;char c[8];}m={1,""};msgsnd(msgq,&m,1,0);)
W(semop,struct sembuf s={0,-1,0};return semop(semid,&s,1);) R(semv,struct sembuf s={0,1,0};semop(semid,&s,1);)
W(semtimedop,struct sembuf s={0,-1,0};return semtimedop(semid,&s,1,&LIMIT);)
W(mq_recv,return mq_receive(mq,buf,8192,NULL);) R(mqs,mq_send(mq,"x",1,0);)
W(mq_timedrecv,struct timespec t=abs_(CLOCK_REALTIME);return mq_timedreceive(mq,buf,8192,NULL,&t);)
W(io_getevents,struct io_event e;return syscall(SYS_io_getevents,aio,1,1,&e,&LIMIT);)
W(io_uring_enter,return syscall(SYS_io_uring_enter,ur,0,1,IORING_ENTER_GETEVENTS,NULL,0);)
W(io_uring_ext_to,struct{unsigned long sm;unsigned sz;unsigned pad;unsigned long ts;}a={0,0,0,(unsigned long)&LIMIT};return syscall(SYS_io_uring_enter,ur,0,1,IORING_ENTER_GETEVENTS|8,&a,sizeof a);)
W(flock,return flock(fl,LOCK_EX);)
W(fcntl_setlkw,struct flock l={.l_type=F_WRLCK};return fcntl(fl,F_OFD_SETLKW,&l);)
W(read_eventfd,return read(ef,buf,8);) R(ev,unsigned long v=1;if(write(ef,&v,8)){})
W(read_timerfd,return read(tfd,buf,8);)
W(read_signalfd,return read(sfd,buf,sizeof(struct signalfd_siginfo))>0;)
W(read_inotify,return read(ino,buf,4096)>0;) R(touch,int f=open("./ino/x",O_CREAT|O_WRONLY,0600);close(f);)
R(unlock,close(flh);)
W(open_fifo,return open("./fifo",O_RDONLY)>=0?0:-1;) R(fifo,open("./fifo",O_WRONLY|O_NONBLOCK);)
static struct{const char*n;long(*w)(void);void(*r)(void);}T[]={
#define X(a,b){#a,w_##a,r_##b},
X(read_pipe,pipe)X(write_fullpipe,drain)X(recv_sock,sock)X(recv_timeo,none)X(recvmmsg_to,sock)X(accept,conn)X(poll,none)X(poll_inf,pipe)X(ppoll,none)X(select,none)X(pselect,none)X(epoll_wait,none)X(epoll_wait_inf,pipe)X(epoll_pwait,none)X(epoll_pwait2,none)X(nanosleep,none)X(nanosleep_norem,none)X(clock_ns_rel,none)X(clock_ns_abs,none)X(libc_usleep,none)X(futex_wait,futex)X(futex_wait_to,none)X(futex_bitset_abs,none)X(futex_lock_pi,futexpi)X(futex_waitv,none)X(pthread_cond,cond)X(sem_wait,sem)X(sem_timedwait,none)X(sigtimedwait,none)X(sigwaitinfo,usr2)X(libc_sigwait,usr2)X(wait4,none)X(waitid,none)X(msgrcv,msg)X(semop,semv)X(semtimedop,none)X(mq_recv,mqs)X(mq_timedrecv,none)X(io_getevents,none)X(io_uring_enter,none)X(io_uring_ext_to,none)X(flock,unlock)X(fcntl_setlkw,unlock)X(read_eventfd,ev)X(read_timerfd,none)X(read_signalfd,usr2)X(read_inotify,touch)X(open_fifo,fifo)};
enum { COUNT = sizeof T / sizeof *T };
static int cur;
static volatile int begun, done;
static long ret;
static int err;
static double took;

static void *worker(void *unused) {
    (void)unused;
    double t0 = now();
    begun = 1;
    errno = 0;
    ret = T[cur].w();
    err = errno;
    took = now() - t0;
    done = 1;
    return NULL;
}

static void on_signal(int s) {
    (void)s;
}

static void nap(double ms) {
    double end = now() + ms;
    while (now() < end) {
        struct timespec t = {0, 1000000};
        nanosleep(&t, NULL);
    }
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 2) {
        for (int i = 0; i < COUNT; i++) puts(T[i].n);
        return 0;
    }
    for (cur = 0; cur < COUNT && strcmp(T[cur].n, argv[1]); cur++) {}
    if (cur == COUNT) return 2;
    char dir[] = "/tmp/hpatch-calls-XXXXXX";
    if (!mkdtemp(dir) || chdir(dir)) return 1;
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    sigprocmask(SIG_BLOCK, &s, NULL);
    if (pipe(p) || socketpair(AF_UNIX, SOCK_STREAM, 0, sp) || mkfifo("fifo", 0600)) return 1;
    ef = eventfd(0, 0);
    ep = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {0}};
    epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e);
    sfd = signalfd(-1, &s, 0);
    ino = inotify_init();
    mkdir("ino", 0700);
    inotify_add_watch(ino, "ino", IN_ALL_EVENTS);
    msgq = msgget(IPC_PRIVATE, 0600);
    semid = semget(IPC_PRIVATE, 1, 0600);
    struct mq_attr at = {0, 4, 8192, 0};
    char name[32];
    sprintf(name, "/hp%d", getpid());
    mq = mq_open(name, O_RDWR | O_CREAT, 0600, &at);
    mq_unlink(name);
    lst = socket(AF_INET, SOCK_STREAM, 0);
    listen(lst, 4);
    fl = open("lockf", O_RDWR | O_CREAT, 0600);
    flh = open("lockf", O_RDWR);
    if (!strcmp(T[cur].n, "flock")) flock(flh, LOCK_EX);
    if (!strcmp(T[cur].n, "fcntl_setlkw")) {
        struct flock l = {.l_type = F_WRLCK};
        fcntl(flh, F_OFD_SETLK, &l);
    }
    syscall(SYS_io_setup, 4, &aio);
    struct io_uring_params up = {0};
    ur = syscall(SYS_io_uring_setup, 4, &up);
    sem_init(&sm, 0, 0);
    if (!strcmp(T[cur].n, "write_fullpipe")) {
        fcntl(p[1], F_SETFL, O_NONBLOCK);
        while (write(p[1], buf, 65536) > 0) {}
        fcntl(p[1], F_SETFL, 0);
    }
    if (!strcmp(T[cur].n, "futex_lock_pi")) syscall(SYS_futex, &futpi, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    if (!strncmp(T[cur].n, "wait", 4) && !(chld = fork())) {
        nap(MS);
        _exit(0);
    }
    if (argc > 2) {
        struct sigaction sa = {.sa_handler = on_signal};
        sigaction(SIGUSR1, &sa, NULL);
    }
    tfd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec it = {{0, 0}, LIMIT};
    timerfd_settime(tfd, 0, &it, NULL);
    pthread_t t;
    pthread_create(&t, NULL, worker, NULL);
    while (!begun) nap(1);
    double t0 = now();
    puts("ready");
    fflush(stdout);
    while (now() - t0 < MS) nap(2);
    T[cur].r();
    while (!done && now() - t0 < MS * 3 + 200) nap(2);
    msgctl(msgq, IPC_RMID, NULL);
    semctl(semid, 0, IPC_RMID);
    unlink("lockf");
    unlink("fifo");
    unlink("ino/x");
    rmdir("ino");
    rmdir(dir);
    if (done)
        printf("%ld %d %.0f\n", ret, ret == -1 ? err : 0, took);
    else
        puts("stuck");
    fflush(stdout);
    _exit(0);
}
