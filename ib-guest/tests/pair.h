/*
 * Two queue pairs of one process that are connected with each other, and memory of each: what the programs
 * here begin with.
 */
#pragma once

#include <errno.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GID 1
#define SIZE (256 * 1024)

static struct ibv_context *context;
static struct ibv_pd *pd;
static struct ibv_comp_channel *channel;
static struct ibv_cq *cq;
static struct ibv_qp *qp[2];
static struct ibv_mr *mr[2];
static char *memory[2];

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("failed: %s (line %d, errno %d)\n", #condition, __LINE__, errno);               \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* With events completions can be waited for, too. */
static void open_device(const char *name, int events) {
    int count = 0;
    struct ibv_device **list = ibv_get_device_list(&count);
    NEED(list);
    for (int i = 0; i < count; i++)
        if (!strcmp(ibv_get_device_name(list[i]), name))
            context = ibv_open_device(list[i]);
    NEED(context);
    ibv_free_device_list(list);
    NEED(pd = ibv_alloc_pd(context));
    if (events)
        NEED(channel = ibv_create_comp_channel(context));
    NEED(cq = ibv_create_cq(context, 256, NULL, channel, 0));
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

static void connect_pairs(enum ibv_mtu mtu) {
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
            .qp_state = IBV_QPS_RTR, .path_mtu = mtu, .dest_qp_num = qp[!i]->qp_num,
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

static struct ibv_sge here(size_t at, uint32_t length) {
    return (struct ibv_sge){(uintptr_t)memory[0] + at, length, mr[0]->lkey};
}

static struct ibv_send_wr there(enum ibv_wr_opcode opcode, size_t at) {
    return (struct ibv_send_wr){
        .wr_id = 100 + opcode, .opcode = opcode, .send_flags = IBV_SEND_SIGNALED,
        .wr.rdma = {(uintptr_t)memory[1] + at, mr[1]->rkey},
    };
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void close_device(void) {
    for (int i = 0; i < 2; i++) {
        NEED(!ibv_destroy_qp(qp[i]));
        NEED(!ibv_dereg_mr(mr[i]));
    }
    NEED(!ibv_destroy_cq(cq));
    NEED(!channel || !ibv_destroy_comp_channel(channel));
    NEED(!ibv_dealloc_pd(pd) && !ibv_close_device(context));
}
