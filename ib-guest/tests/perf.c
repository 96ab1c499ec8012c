/*
 * What operations cost: run by the lab's benchmark in guests over our library, and in dom0 over rdma-core's.
 * Everything is a write from one queue pair of this process to the other.
 *
 *   perf DEVICE work MODE COUNT BATCH BYTES   COUNT writes, posted and completed by BATCH; prints nothing
 *   perf DEVICE latency MODE BYTES MS         one write after the other, for MS; prints "latency NS"
 *   perf DEVICE bandwidth MODE BYTES MS       a window of writes; prints "bandwidth MB/S"
 *   perf DEVICE register BYTES COUNT          prints "register US" and "deregister US" of each
 *
 * MODE is events or polling.
 */
#include "pair.h"

#define WINDOW 64

static int by_events;

/* Takes completions until there were `count`. */
static void complete(int count) {
    while (count > 0) {
        struct ibv_wc wc[WINDOW];
        /* Others are left for whoever waits for them. */
        int polled = ibv_poll_cq(cq, count < WINDOW ? count : WINDOW, wc);
        NEED(polled >= 0);
        for (int i = 0; i < polled; i++)
            NEED(wc[i].status == IBV_WC_SUCCESS);
        count -= polled;
        if (polled || !by_events)
            continue;
        struct ibv_cq *told;
        void *told_context;
        NEED(!ibv_get_cq_event(channel, &told, &told_context));
        ibv_ack_cq_events(told, 1);
        /* What came before this is found by the next look. */
        NEED(!ibv_req_notify_cq(cq, 0));
    }
}

/* Posts a list of writes. */
static void post_writes(int count, uint32_t bytes) {
    struct ibv_send_wr wr[WINDOW], *bad;
    struct ibv_sge sge = here(0, bytes);
    for (int i = 0; i < count; i++) {
        wr[i] = there(IBV_WR_RDMA_WRITE, 0);
        wr[i].sg_list = &sge;
        wr[i].num_sge = 1;
        wr[i].next = i + 1 < count ? &wr[i + 1] : NULL;
    }
    NEED(!ibv_post_send(qp[0], wr, &bad));
}

static void work(int count, int batch, uint32_t bytes) {
    for (; count > 0; count -= batch) {
        post_writes(batch, bytes);
        complete(batch);
    }
}

static void latency(uint32_t bytes, int milliseconds) {
    work(16, 1, bytes);
    uint64_t begin = now_ns(), end = begin + milliseconds * 1000000ull, count = 0, now;
    do {
        work(16, 1, bytes);
        count += 16;
    } while ((now = now_ns()) < end);
    printf("latency %.1f\n", (double)(now - begin) / count);
}

static void bandwidth(uint32_t bytes, int milliseconds) {
    work(WINDOW, WINDOW, bytes);
    uint64_t begin = now_ns(), end = begin + milliseconds * 1000000ull, count = 0, now;
    post_writes(WINDOW / 2, bytes);
    do {
        /* Half a window is under way while the other half is looked at. */
        post_writes(WINDOW / 2, bytes);
        complete(WINDOW / 2);
        count += WINDOW / 2;
    } while ((now = now_ns()) < end);
    printf("bandwidth %.3f\n", (double)count * bytes * 1000 / (now - begin));
    complete(WINDOW / 2);
}

static void registrations(size_t bytes, int count) {
    char *buffer;
    NEED(!posix_memalign((void **)&buffer, 4096, bytes));
    for (int i = 0; i < count; i++) {
        memset(buffer, i, bytes);
        uint64_t begin = now_ns();
        struct ibv_mr *region = ibv_reg_mr(pd, buffer, bytes, IBV_ACCESS_LOCAL_WRITE);
        NEED(region);
        uint64_t middle = now_ns();
        NEED(!ibv_dereg_mr(region));
        printf("register %.3f\nderegister %.3f\n", (middle - begin) / 1e3,
               (now_ns() - middle) / 1e3);
        NEED(buffer[0] == (char)i && buffer[bytes - 1] == (char)i);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 5)
        return 2;
    const char *what = argv[2];
    by_events = !strcmp(argv[3], "events");
    open_device(argv[1], by_events);
    connect_pairs(IBV_MTU_4096);
    if (by_events)
        NEED(!ibv_req_notify_cq(cq, 0));
    if (!strcmp(what, "register")) {
        registrations(strtoul(argv[3], NULL, 0), atoi(argv[4]));
    } else if (argc > 5) {
        int number = atoi(argv[5]);
        uint32_t bytes = atoi(argv[argc > 6 ? 6 : 4]);
        NEED(bytes <= SIZE);
        if (!strcmp(what, "work") && argc > 6) {
            NEED(number > 0 && number <= WINDOW);
            work(atoi(argv[4]), number, bytes);
        } else if (!strcmp(what, "latency"))
            latency(bytes, number);
        else if (!strcmp(what, "bandwidth"))
            bandwidth(bytes, number);
        else
            return 2;
    } else
        return 2;
    close_device();
    return 0;
}
