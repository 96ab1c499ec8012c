/*
 * A verbs program that says what it saw, in C because the header is: run by the lab in guests over our
 * library, and in dom0 over rdma-core's.
 *
 *   verbs DEVICE operations     every operation between two QPs of this process
 *   verbs DEVICE quiet N        N writes, polled for, after as many to warm up; counts system calls
 *   verbs DEVICE steps          instructions of one post and one poll, for 64 bytes and for 64 KiB
 *   verbs DEVICE cache          registers memory again that was deregistered, unmapped, moved, forked
 *   verbs DEVICE many N         registers and deregisters N buffers of 64 KiB; goes on once /run/go exists
 *   verbs DEVICE full HOW       deregisters nearly all that the guest may have, and needs room for other things;
 *                               HOW is alone, threads, or children (threads, and ibv_fork_init before)
 *   verbs DEVICE workers N      N children, one after the other, open the device and end without closing it;
 *                               each leaves a child of its own; goes on once /run/go exists
 *   verbs DEVICE reconnect N    writes until the device fails, N times, and opens it again each time
 *   verbs DEVICE register N     registers and deregisters 2 MiB N times, and tells the time of each
 *
 * Ends with 0 when everything was as it should be.
 */
#define _GNU_SOURCE
#include "pair.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BATCH 32

static int failures;

static void say(int good, const char *what) {
    printf("%s %s\n", good ? "ok" : "WRONG", what);
    failures += !good;
}

/* Waits for one completion. */
static struct ibv_wc completion(void) {
    struct ibv_wc wc;
    int count;
    while (!(count = ibv_poll_cq(cq, 1, &wc)))
        ;
    NEED(count == 1);
    return wc;
}

static int post(struct ibv_send_wr wr, struct ibv_sge *sges, int count) {
    struct ibv_send_wr *bad;
    wr.sg_list = sges;
    wr.num_sge = count;
    return ibv_post_send(qp[0], &wr, &bad);
}

static void receive(uint64_t id, size_t at, uint32_t length) {
    struct ibv_sge sge = {(uintptr_t)memory[1] + at, length, mr[1]->lkey};
    struct ibv_recv_wr wr = {.wr_id = id, .sg_list = &sge, .num_sge = 1}, *bad;
    NEED(!ibv_post_recv(qp[1], &wr, &bad));
}

static void operations(void) {
    struct ibv_sge sges[3];
    struct ibv_wc wc;
    struct ibv_send_wr wr;

    memset(memory[0], 'x', SIZE);
    sges[0] = here(0, 65536);
    NEED(!post(there(IBV_WR_RDMA_WRITE, 4096), sges, 1));
    wc = completion();
    say(wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_RDMA_WRITE &&
            wc.wr_id == 100 + IBV_WR_RDMA_WRITE && wc.qp_num == qp[0]->qp_num,
        "write completes");
    say(memory[1][4095] == 'b' && !memcmp(memory[1] + 4096, memory[0], 65536) &&
            memory[1][4096 + 65536] == 'b',
        "write writes these bytes and no others");

    memset(memory[1] + 100, 'r', 200);
    sges[0] = here(8192, 200);
    NEED(!post(there(IBV_WR_RDMA_READ, 100), sges, 1));
    wc = completion();
    say(wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_RDMA_READ &&
            !memcmp(memory[0] + 8192, memory[1] + 100, 200),
        "read");

    receive(7, 0, 4096);
    sges[0] = here(0, 4), sges[1] = here(8192, 4), sges[2] = here(4, 4);
    wr = there(IBV_WR_SEND_WITH_IMM, 0);
    wr.imm_data = htobe32(0x12345678);
    NEED(!post(wr, sges, 3));
    struct ibv_wc both[2] = {completion(), completion()};
    struct ibv_wc *got = &both[both[1].wr_id == 7];
    say(both[0].status == IBV_WC_SUCCESS && both[1].status == IBV_WC_SUCCESS && got->wr_id == 7 &&
            got->opcode == IBV_WC_RECV && got->byte_len == 12 &&
            (got->wc_flags & IBV_WC_WITH_IMM) && got->imm_data == htobe32(0x12345678),
        "send with immediate data");
    say(!memcmp(memory[1], "xxxxrrrrxxxx", 12), "three places gathered");

    char text[] = "inline bytes";
    receive(8, 0, 4096);
    sges[0] = (struct ibv_sge){(uintptr_t)text, sizeof text, 0};
    wr = there(IBV_WR_SEND, 0);
    wr.send_flags = IBV_SEND_INLINE;
    NEED(!post(wr, sges, 1));
    memset(text, 0, sizeof text);
    wc = completion();
    say(wc.wr_id == 8 && wc.status == IBV_WC_SUCCESS && !strcmp(memory[1], "inline bytes"),
        "inline, from memory that is not registered, not signalled");

    receive(9, 0, 64);
    sges[0] = here(0, 64);
    wr = there(IBV_WR_RDMA_WRITE_WITH_IMM, 512);
    wr.imm_data = htobe32(9);
    wr.send_flags = 0;
    NEED(!post(wr, sges, 1));
    wc = completion();
    say(wc.wr_id == 9 && wc.opcode == IBV_WC_RECV_RDMA_WITH_IMM && wc.imm_data == htobe32(9) &&
            wc.byte_len == 64,
        "write with immediate data");

    uint64_t *word = (uint64_t *)(memory[1] + 2048), *old = (uint64_t *)(memory[0] + 2048);
    *word = 40;
    sges[0] = here(2048, 8);
    wr = there(IBV_WR_ATOMIC_FETCH_AND_ADD, 0);
    wr.wr.atomic.remote_addr = (uintptr_t)word;
    wr.wr.atomic.rkey = mr[1]->rkey;
    wr.wr.atomic.compare_add = 2;
    NEED(!post(wr, sges, 1));
    wc = completion();
    say(wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_FETCH_ADD && *old == 40 && *word == 42,
        "fetch and add");
    wr.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
    wr.wr.atomic.compare_add = 42;
    wr.wr.atomic.swap = 7;
    NEED(!post(wr, sges, 1));
    wc = completion();
    say(wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_COMP_SWAP && *old == 42 && *word == 7,
        "compare and swap");

    /* More than there is room for in a slot with 128 bytes of inline data, too. */
    struct ibv_sge many[33];
    for (int i = 0; i < 33; i++)
        many[i] = here(0, 1);
    say(post(there(IBV_WR_RDMA_WRITE, 0), many, 33) == EINVAL, "too many places are refused");

    wr = there(IBV_WR_RDMA_WRITE, 0);
    wr.wr.rdma.rkey ^= 0x5a00;
    sges[0] = here(0, 64);
    NEED(!post(wr, sges, 1));
    wc = completion();
    say(wc.status == IBV_WC_REM_ACCESS_ERR, "another key is refused by the peer");
    struct ibv_qp_attr attr;
    struct ibv_qp_init_attr init;
    NEED(!ibv_query_qp(qp[0], &attr, IBV_QP_STATE, &init));
    say(attr.qp_state == IBV_QPS_ERR && init.cap.max_send_sge >= 4, "and the QP is in error");
}

/* Writes, `count` of them, in batches that are polled for. */
static void writes(int count) {
    while (count > 0) {
        int now = count < BATCH ? count : BATCH;
        for (int i = 0; i < now; i++) {
            struct ibv_sge sge = here(0, 64);
            NEED(!post(there(IBV_WR_RDMA_WRITE, 0), &sge, 1));
        }
        for (int done = 0; done < now;) {
            struct ibv_wc wc[BATCH];
            int polled = ibv_poll_cq(cq, BATCH, wc);
            NEED(polled >= 0);
            for (int i = 0; i < polled; i++)
                NEED(wc[i].status == IBV_WC_SUCCESS);
            done += polled;
        }
        count -= now;
    }
}

/* Marks the beginning and the end of what is counted: a call that nothing else here makes. */
static void mark(void) { syscall(SYS_getppid); }

/* Events that other domains have sent to programs of this one, since it began. */
static unsigned long events(void) {
    char line[512];
    unsigned long all = 0;
    FILE *file = fopen("/proc/interrupts", "r");
    NEED(file);
    while (fgets(line, sizeof line, file)) {
        char *count = strchr(line, ':');
        if (count && strstr(line, "evtchn:"))
            all += strtoul(count + 1, NULL, 10);
    }
    fclose(file);
    return all;
}

static void quiet(int count) {
    writes(count);
    unsigned long before = events();
    mark();
    writes(count);
    mark();
    printf("events %lu of %lu\n", events() - before, before);
}

static void registrations(int count) {
    size_t bytes = 2 << 20;
    char *buffer;
    NEED(!posix_memalign((void **)&buffer, 4096, bytes));
    for (int i = 0; i < count; i++) {
        memset(buffer, i, bytes);
        uint64_t begin = now_ns();
        struct ibv_mr *region = ibv_reg_mr(pd, buffer, bytes, IBV_ACCESS_LOCAL_WRITE);
        NEED(region);
        uint64_t middle = now_ns();
        NEED(buffer[0] == (char)i && buffer[bytes - 1] == (char)i);
        NEED(!ibv_dereg_mr(region));
        NEED(buffer[0] == (char)i && buffer[bytes - 1] == (char)i);
        printf("register %d: %llu us, deregister: %llu us\n", i,
               (unsigned long long)(middle - begin) / 1000,
               (unsigned long long)(now_ns() - middle) / 1000);
    }
}

#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)
#define PAGES 4
#define PAGE 4096

static char *map_at(char *at, size_t bytes) {
    int fixed = at ? MAP_FIXED : 0;
    char *got = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    NEED(got != MAP_FAILED);
    return got;
}

/* Registers the buffer, writes to its last page by the device, and sees all of it; deregisters. Gives the key. */
static uint32_t round_trip(char *buffer, char fill, const char *what) {
    memset(buffer, fill, PAGES * PAGE);
    struct ibv_mr *region = ibv_reg_mr(pd, buffer, PAGES * PAGE, ACCESS);
    NEED(region);
    struct ibv_sge sge = here(0, 8);
    struct ibv_send_wr wr = there(IBV_WR_RDMA_WRITE, 0);
    wr.wr.rdma.remote_addr = (uintptr_t)buffer + (PAGES - 1) * PAGE + 8;
    wr.wr.rdma.rkey = region->rkey;
    memset(memory[0], fill + 1, 8);
    NEED(!post(wr, &sge, 1));
    NEED(completion().status == IBV_WC_SUCCESS);
    int good = 1;
    for (int i = 0; i < PAGES * PAGE; i++) {
        int written = i >= (PAGES - 1) * PAGE + 8 && i < (PAGES - 1) * PAGE + 16;
        good &= buffer[i] == fill + written;
    }
    uint32_t key = region->rkey;
    NEED(!ibv_dereg_mr(region));
    good &= buffer[0] == fill && buffer[(PAGES - 1) * PAGE + 8] == fill + 1;
    say(good, what);
    return key;
}

/* The device writes a byte there by the key of this region. */
static int lands(char *at, struct ibv_mr *region, char byte) {
    struct ibv_sge sge = here(0, 1);
    struct ibv_send_wr wr = there(IBV_WR_RDMA_WRITE, 0);
    memory[0][0] = byte;
    wr.wr.rdma.remote_addr = (uintptr_t)at;
    wr.wr.rdma.rkey = region->rkey;
    return !post(wr, &sge, 1) && completion().status == IBV_WC_SUCCESS;
}

/* What programs do with memory that they have deregistered, and registering it again. */
static void cache(void) {
    char *buffer = map_at(NULL, PAGES * PAGE);
    round_trip(buffer, 'A', "registered");
    round_trip(buffer, 'C', "registered again");
    NEED(!munmap(buffer, PAGES * PAGE));
    NEED(map_at(buffer, PAGES * PAGE) == buffer);
    round_trip(buffer, 'E', "other memory at the same address");
    NEED(map_at(buffer + PAGE, PAGE) == buffer + PAGE);
    round_trip(buffer, 'G', "one page of it was replaced");
    char *other = map_at(NULL, PAGES * PAGE);
    NEED(mremap(buffer, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other) == other);
    say(other[0] == 'G', "it moves");
    NEED(map_at(buffer, PAGES * PAGE) == buffer);
    round_trip(buffer, 'I', "other memory where it was");
    round_trip(other, 'K', "and where it is");
    say(buffer[0] == 'I', "neither is the other");
    pid_t child = fork();
    NEED(child >= 0);
    if (!child) {
        memset(buffer, 'z', PAGES * PAGE);
        _exit(0);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child && !status);
    say(buffer[0] == 'I' && other[0] == 'K', "a child has memory of its own");
    if (!getenv("XLR_IB_CACHE_PAGES")) {
        NEED(!madvise(buffer, PAGES * PAGE, MADV_DONTNEED));
        NEED(buffer[0] == 0);
    }
    char *parts = map_at(NULL, PAGES * PAGE);
    struct ibv_mr *all = ibv_reg_mr(pd, parts, PAGES * PAGE, ACCESS);
    struct ibv_mr *one = ibv_reg_mr(pd, parts, 64, ACCESS);
    NEED(all && one && !ibv_dereg_mr(all));
    NEED(!munmap(parts + PAGE, (PAGES - 1) * PAGE));
    struct ibv_mr *beside = ibv_reg_mr(pd, parts + 64, 64, ACCESS);
    NEED(beside);
    parts[32] = 'a';
    NEED(lands(parts + 16, one, 'p') && lands(parts + 80, beside, 'q'));
    say(parts[16] == 'p' && parts[80] == 'q' && parts[32] == 'a',
        "two regions in a page whose neighbours were unmapped");
    NEED(map_at(parts + PAGE, (PAGES - 1) * PAGE) == parts + PAGE);
    all = ibv_reg_mr(pd, parts, PAGES * PAGE, ACCESS);
    NEED(all);
    NEED(lands(parts + 16, one, 'r') && lands(parts + 2 * PAGE, all, 's'));
    say(parts[16] == 'r' && parts[2 * PAGE] == 's' && parts[80] == 'q',
        "and one over it and other memory beside it");
    NEED(!ibv_dereg_mr(beside) && !ibv_dereg_mr(one) && !ibv_dereg_mr(all));
    uint32_t key = round_trip(buffer, 'M', "registered after that");
    struct ibv_sge sge = here(0, 8);
    struct ibv_send_wr wr = there(IBV_WR_RDMA_WRITE, 0);
    wr.wr.rdma.remote_addr = (uintptr_t)buffer;
    wr.wr.rdma.rkey = key;
    NEED(!post(wr, &sge, 1));
    say(completion().status == IBV_WC_REM_ACCESS_ERR && buffer[0] == 'M',
        "nothing reaches memory that was deregistered");
}

static void many(int count) {
    char *buffer = map_at(NULL, (size_t)count * 16 * PAGE);
    for (int again = 0; again < 2; again++)
        for (int i = 0; i < count; i++) {
            char *at = buffer + (size_t)i * 16 * PAGE;
            memset(at, 'a' + i % 26, 16 * PAGE);
            struct ibv_mr *region = ibv_reg_mr(pd, at, 16 * PAGE, ACCESS);
            NEED(region && !ibv_dereg_mr(region));
        }
    for (int i = 0; i < count; i++)
        NEED(buffer[(size_t)i * 16 * PAGE] == 'a' + i % 26);
    printf("many\n");
    while (access("/run/go", F_OK))
        usleep(100000);
}

static void *sleeps(void *unused) {
    for (;;)
        pause();
    return unused;
}

/* Buffers of 16 pages: with those that the program has anyhow nearly the 1024 of a guest, and too many. */
#define FULL 53
#define LIVE 40

/* Registers and deregisters nearly all that the guest may have; then needs room. */
static void full(const char *how) {
    pthread_t thread;
    if (strcmp(how, "alone"))
        NEED(!pthread_create(&thread, NULL, sleeps, NULL));
    char *buffer = map_at(NULL, (size_t)FULL * 16 * PAGE);
    struct ibv_mr *regions[LIVE];
    for (int i = 0; i < FULL; i++) {
        char *at = buffer + (size_t)i * 16 * PAGE;
        memset(at, 'a' + i % 26, 16 * PAGE);
        struct ibv_mr *region = ibv_reg_mr(pd, at, 16 * PAGE, ACCESS);
        NEED(region && !ibv_dereg_mr(region));
    }
    say(1, "buffers one after the other");
    struct ibv_cq *large = ibv_create_cq(context, 4096, NULL, NULL, 0);
    NEED(large);
    struct ibv_qp_init_attr init = {
        .send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC,
        .cap = {.max_send_wr = 1024, .max_recv_wr = 64, .max_send_sge = 4, .max_recv_sge = 4},
    };
    struct ibv_qp *pair = ibv_create_qp(pd, &init);
    NEED(pair);
    say(1, "a large CQ and a large QP");
    NEED(!ibv_destroy_qp(pair) && !ibv_destroy_cq(large));
    char *others = map_at(NULL, (size_t)LIVE * 16 * PAGE);
    for (int i = 0; i < LIVE; i++)
        NEED(regions[i] = ibv_reg_mr(pd, others + (size_t)i * 16 * PAGE, 16 * PAGE, ACCESS));
    for (int i = 0; i < LIVE; i++)
        NEED(!ibv_dereg_mr(regions[i]));
    say(1, "many at once");
    /* A child that has one of its own, and writes to memory that is no region. */
    pid_t child = fork();
    NEED(child >= 0);
    if (!child) {
        int status;
        pid_t grandchild = fork();
        if (!grandchild) {
            if (strcmp(how, "threads"))
                for (int i = 0; i < FULL; i++)
                    buffer[(size_t)i * 16 * PAGE + 1] = 'z';
            _exit(0);
        }
        _exit(grandchild < 0 || waitpid(grandchild, &status, 0) != grandchild || status);
    }
    int status, good = 1;
    NEED(waitpid(child, &status, 0) == child);
    for (int i = 0; i < FULL; i++)
        good &= buffer[(size_t)i * 16 * PAGE] == 'a' + i % 26;
    printf("child %d\n", status);
    say(!status && good, "a child's child ends well");
}

/* Processes that end without closing the device, while their parent and their children live on. */
static void workers(const char *name, int count) {
    close_device();
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        NEED(child >= 0);
        if (!child) {
            open_device(name, 0);
            connect_pairs(IBV_MTU_1024);
            writes(BATCH);
            pid_t left = fork();
            NEED(left >= 0);
            if (left)
                _exit(0);
            while (access("/run/go", F_OK))
                usleep(100000);
            _exit(0);
        }
        int status;
        NEED(waitpid(child, &status, 0) == child && !status);
    }
    printf("workers\n");
    while (access("/run/go", F_OK))
        usleep(100000);
    open_device(name, 0);
    connect_pairs(IBV_MTU_1024);
}

/* One write of each size, posted and polled for between marks; the parent counts instructions. */
static void steps(void) {
    writes(BATCH);
    for (int i = 0; i < 2; i++) {
        struct ibv_sge sge = here(0, i ? 65536 : 64);
        struct ibv_send_wr wr = there(IBV_WR_RDMA_WRITE, 0), *bad;
        struct ibv_wc wc;
        wr.sg_list = &sge;
        wr.num_sge = 1;
        mark();
        int posted = ibv_post_send(qp[0], &wr, &bad);
        mark();
        NEED(!posted);
        /* By now it is done: only the poll that finds it counts. */
        struct timespec second = {1, 0};
        nanosleep(&second, NULL);
        mark();
        int polled = ibv_poll_cq(cq, 1, &wc);
        mark();
        NEED(polled == 1 && wc.status == IBV_WC_SUCCESS);
    }
}

/* Ends with the device, and hears of it; then opens it again. */
static void reconnect(const char *name, int count) {
    for (int i = 0; i < count; i++) {
        writes(BATCH);
        printf("connected\n");
        struct ibv_async_event event;
        NEED(!ibv_get_async_event(context, &event));
        NEED(event.event_type == IBV_EVENT_DEVICE_FATAL);
        ibv_ack_async_event(&event);
        /* What there was is gone, and says so. */
        struct ibv_wc wc;
        NEED(ibv_poll_cq(cq, 1, &wc) < 0);
        NEED(!ibv_reg_mr(pd, memory[0], SIZE, ACCESS));
        close_device();
        printf("closed\n");
        channel = NULL;
        context = NULL;
        open_device(name, 0);
        connect_pairs(IBV_MTU_1024);
    }
    writes(BATCH);
}

/* Follows a child: between marks counts its system calls, or its instructions. */
static int follow(pid_t child, int by_step) {
    int status, inside = 0, entering = 1;
    long counted = 0;
    NEED(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    NEED(!ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    for (int signal = 0;;) {
        int request = inside && by_step ? PTRACE_SINGLESTEP : PTRACE_SYSCALL;
        NEED(!ptrace(request, child, NULL, signal));
        NEED(waitpid(child, &status, 0) == child);
        signal = 0;
        if (WIFEXITED(status))
            return WEXITSTATUS(status);
        NEED(WIFSTOPPED(status));
        if (WSTOPSIG(status) != (SIGTRAP | 0x80) && WSTOPSIG(status) != SIGTRAP) {
            signal = WSTOPSIG(status);
            continue;
        }
        if (request == PTRACE_SINGLESTEP) {
            /* The marks' own instruction is `syscall`. */
            unsigned long ip = ptrace(PTRACE_PEEKUSER, child, 8 * 16, NULL);
            unsigned long code = ptrace(PTRACE_PEEKTEXT, child, ip, NULL);
            unsigned long rax = ptrace(PTRACE_PEEKUSER, child, 8 * 10, NULL);
            counted++;
            if ((code & 0xffff) == 0x050f) {
                if (rax != SYS_getppid) {
                    printf("a system call: %lu\n", rax);
                    continue;
                }
                printf("counted %ld\n", counted);
                inside = 0;
                entering = 1;
                /* Its entry and its exit are passed by the loop. */
                NEED(!ptrace(PTRACE_SYSCALL, child, NULL, 0) && waitpid(child, &status, 0) == child);
                NEED(!ptrace(PTRACE_SYSCALL, child, NULL, 0) && waitpid(child, &status, 0) == child);
            }
            continue;
        }
        if (entering) {
            unsigned long number = ptrace(PTRACE_PEEKUSER, child, 8 * 15, NULL);
            if (number == SYS_getppid) {
                if (inside)
                    printf("counted %ld\n", counted);
                inside = !inside;
                counted = 0;
                if (inside && by_step) {
                    NEED(!ptrace(PTRACE_SYSCALL, child, NULL, 0));
                    NEED(waitpid(child, &status, 0) == child);
                    entering = 1;
                    continue;
                }
            } else if (inside) {
                printf("a system call: %lu\n", number);
                counted++;
            }
        }
        entering = !entering;
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3)
        return 2;
    const char *what = argv[2];
    int count = argc > 3 ? atoi(argv[3]) : 0;
    if (!strcmp(what, "quiet") || !strcmp(what, "steps")) {
        pid_t child = fork();
        NEED(child >= 0);
        if (child)
            return follow(child, !strcmp(what, "steps"));
        NEED(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
        raise(SIGSTOP);
    }
    if (!strcmp(what, "full") && argc > 3 && !strcmp(argv[3], "children"))
        NEED(!ibv_fork_init());
    open_device(argv[1], 0);
    connect_pairs(IBV_MTU_1024);
    if (!strcmp(what, "operations"))
        operations();
    else if (!strcmp(what, "quiet"))
        quiet(count);
    else if (!strcmp(what, "steps"))
        steps();
    else if (!strcmp(what, "cache"))
        cache();
    else if (!strcmp(what, "many"))
        many(count);
    else if (!strcmp(what, "full") && argc > 3)
        full(argv[3]);
    else if (!strcmp(what, "workers"))
        workers(argv[1], count);
    else if (!strcmp(what, "reconnect"))
        reconnect(argv[1], count);
    else if (!strcmp(what, "register"))
        registrations(count);
    else
        return 2;
    close_device();
    /* What was done to the memory is still there. */
    for (int i = 0; i < 2; i++)
        NEED(memory[i][SIZE - 1] == (!strcmp(what, "operations") && !i ? 'x' : 'a' + i));
    printf(failures ? "%d failures\n" : "all is well\n", failures);
    return failures != 0;
}
