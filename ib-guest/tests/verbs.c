/*
 * A verbs program that says what it saw, in C because the header is: run by the lab in guests over our
 * library, and in dom0 over rdma-core's.
 *
 *   verbs DEVICE operations     every operation between two QPs of this process
 *   verbs DEVICE quiet N        N writes, polled for, after as many to warm up; counts system calls
 *   verbs DEVICE steps          instructions of one post and one poll, for 64 bytes and for 64 KiB
 *   verbs DEVICE register N     registers and deregisters 2 MiB N times, and tells the time of each
 *
 * Ends with 0 when everything was as it should be.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GID 1
#define SIZE (256 * 1024)
#define BATCH 32

static struct ibv_context *context;
static struct ibv_pd *pd;
static struct ibv_cq *cq;
static struct ibv_qp *qp[2];
static struct ibv_mr *mr[2];
static char *memory[2];
static int failures;

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("failed: %s (line %d, errno %d)\n", #condition, __LINE__, errno);               \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void say(int good, const char *what) {
    printf("%s %s\n", good ? "ok" : "WRONG", what);
    failures += !good;
}

static void open_device(const char *name) {
    int count = 0;
    struct ibv_device **list = ibv_get_device_list(&count);
    NEED(list);
    for (int i = 0; i < count; i++)
        if (!strcmp(ibv_get_device_name(list[i]), name))
            context = ibv_open_device(list[i]);
    NEED(context);
    ibv_free_device_list(list);
    NEED(pd = ibv_alloc_pd(context));
    NEED(cq = ibv_create_cq(context, 256, NULL, NULL, 0));
    for (int i = 0; i < 2; i++) {
        NEED(!posix_memalign((void **)&memory[i], 4096, SIZE));
        memset(memory[i], 'a' + i, SIZE);
        NEED(mr[i] = ibv_reg_mr(pd, memory[i], SIZE,
                                IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                    IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC));
        /* Registering changes no byte. */
        NEED(memory[i][0] == 'a' + i && memory[i][SIZE - 1] == 'a' + i);
    }
}

static void connect_pairs(void) {
    union ibv_gid gid;
    NEED(!ibv_query_gid(context, 1, GID, &gid));
    for (int i = 0; i < 2; i++) {
        struct ibv_qp_init_attr init = {
            .send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC,
            .cap = {.max_send_wr = 128, .max_recv_wr = 64, .max_send_sge = 4, .max_recv_sge = 4,
                    .max_inline_data = 128},
        };
        NEED(qp[i] = ibv_create_qp(pd, &init));
        struct ibv_qp_attr attr = {
            .qp_state = IBV_QPS_INIT, .port_num = 1,
            .qp_access_flags =
                IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC,
        };
        NEED(!ibv_modify_qp(qp[i], &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
                                              IBV_QP_ACCESS_FLAGS));
    }
    for (int i = 0; i < 2; i++) {
        struct ibv_qp_attr attr = {
            .qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_1024, .dest_qp_num = qp[!i]->qp_num,
            .max_dest_rd_atomic = 1, .min_rnr_timer = 12,
            .ah_attr = {.is_global = 1, .port_num = 1,
                        .grh = {.dgid = gid, .sgid_index = GID, .hop_limit = 1}},
        };
        NEED(!ibv_modify_qp(qp[i], &attr,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER));
        attr = (struct ibv_qp_attr){
            .qp_state = IBV_QPS_RTS, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7,
            .max_rd_atomic = 1,
        };
        NEED(!ibv_modify_qp(qp[i], &attr,
                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC));
    }
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

static struct ibv_sge here(size_t at, uint32_t length) {
    return (struct ibv_sge){(uintptr_t)memory[0] + at, length, mr[0]->lkey};
}

static struct ibv_send_wr there(enum ibv_wr_opcode opcode, size_t at) {
    return (struct ibv_send_wr){
        .wr_id = 100 + opcode, .opcode = opcode, .send_flags = IBV_SEND_SIGNALED,
        .wr.rdma = {(uintptr_t)memory[1] + at, mr[1]->rkey},
    };
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

static void quiet(int count) {
    writes(count);
    mark();
    writes(count);
    mark();
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
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
    open_device(argv[1]);
    connect_pairs();
    if (!strcmp(what, "operations"))
        operations();
    else if (!strcmp(what, "quiet"))
        quiet(count);
    else if (!strcmp(what, "steps"))
        steps();
    else if (!strcmp(what, "register"))
        registrations(count);
    else
        return 2;
    for (int i = 0; i < 2; i++) {
        NEED(!ibv_destroy_qp(qp[i]));
        NEED(!ibv_dereg_mr(mr[i]));
        /* What was done to the memory is still there. */
        NEED(memory[i][SIZE - 1] == (!strcmp(what, "operations") && !i ? 'x' : 'a' + i));
    }
    NEED(!ibv_destroy_cq(cq) && !ibv_dealloc_pd(pd) && !ibv_close_device(context));
    printf(failures ? "%d failures\n" : "all is well\n", failures);
    return failures != 0;
}
