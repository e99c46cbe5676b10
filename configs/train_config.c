// Keys of training. Defaults are the paper's (spec/pretrain.md 6, 10, 11) where the paper has one.

#include "configs/train_config.h"

#include <string.h>

#include "runtime/base/str.h"

static const char *const nonfinite_names[] = { "abort", "skip", "rollback", NULL };
static const char *const schedule_names[] = { "warmup_cosine", "linear_decay", NULL };
static const char *const mode_names[] = { "ddp", "zero2", "fsdp", "hsdp", NULL };

bool vj_trace_range(const char *text, int64_t *from, int64_t *to)
{
    char first[48];
    const char *colon = strchr(text, ':');
    *from = *to = 0;
    if (text[0] == '\0') return true;
    if (!colon || (size_t)(colon - text) >= sizeof first) return false;
    memcpy(first, text, (size_t)(colon - text));
    first[colon - text] = '\0';
    return vj_parse_i64(first, from) && vj_parse_i64(colon + 1, to) && *from >= 1 && *from <= *to;
}

#define AT(member) offsetof(vj_train_config, member)
#define INT(key_, member, def_, low_, high_, flags_, help_)                                                            \
    { .key = key_, .kind = VJ_FIELD_INT, .offset = AT(member), .help = help_, .i = { def_, low_, high_ }, .flags = flags_ }
#define FLOAT(key_, member, def_, low_, high_, help_)                                                                  \
    { .key = key_, .kind = VJ_FIELD_FLOAT, .offset = AT(member), .help = help_, .f = { def_, low_, high_ } }
#define FREE VJ_FIELD_MAY_CHANGE

const vj_field vj_train_fields[] = {
    INT("seed", seed, 239, 0, INT64_C(1) << 62, 0, "seed of weights, sample order, crops and masks"),
    INT("threads", threads, -1, 1, 1024, FREE | VJ_FIELD_AUTO, "threads that compute; auto: CPUs this process may use"),
    { .key = "device", .kind = VJ_FIELD_TEXT, .offset = AT(device), .text = "cpu", .i = { 0, 0, 16 }, .flags = FREE,
      .help = "cpu, ref (float64, slow), or far (cpu behind an opaque address space: tests)" },

    INT("train.batch", batch, 3072, 1, 1 << 24, 0, "samples of a step over all ranks; a multiple of mask.group"),
    INT("train.steps", steps, 240000, 1, INT64_C(1) << 40, 0, "optimiser steps of the whole run: what schedules are made for"),
    { .key = "train.nonfinite", .kind = VJ_FIELD_ENUM, .offset = AT(nonfinite), .names = nonfinite_names, .flags = FREE,
      .help = "a step whose loss or gradient is not finite: abort (exit 87), skip its update, or rollback to the newest checkpoint",
      .i = { VJ_NONFINITE_ABORT, 0, 2 } },
    INT("train.rollback_steps", rollback_steps, 1, 1, 1000000, FREE, "batches that a rollback leaves out: the bad one and those before it"),
    INT("train.rollback_max", rollback_max, 3, 1, 1000000, FREE, "rollbacks to the same checkpoint; after that exit 87"),

    { .key = "train.trace", .kind = VJ_FIELD_TEXT, .offset = AT(trace), .text = "", .i = { 0, 0, 48 }, .flags = FREE,
      .help = "FROM:TO: what all ranks do in these steps, into RUN/trace-FROM.json for chrome://tracing or Perfetto; empty: no trace" },

    { .key = "optim.schedule", .kind = VJ_FIELD_ENUM, .offset = AT(schedule), .names = schedule_names,
      .help = "warmup_cosine (with final_lr = lr: warm-up, then constant), or linear_decay (cooldown)", .i = { 0, 0, 1 } },
    INT("optim.warmup", warmup, 12000, 0, INT64_C(1) << 40, 0, "steps of linear warm-up"),
    FLOAT("optim.schedule_scale", schedule_scale, 1.0, 1.0, 10.0, "length of the schedules over train.steps (the published code's ipe_scale)"),
    FLOAT("optim.start_lr", start_lr, 1e-4, 0, 1e38, "learning rate where warm-up begins"),
    FLOAT("optim.lr", lr, 5.25e-4, 0, 1e38, "learning rate"),
    FLOAT("optim.final_lr", final_lr, 5.25e-4, 0, 1e38, "learning rate where the schedule ends"),
    FLOAT("optim.weight_decay", weight_decay, 0.04, 0, 10, "decoupled weight decay of matrices"),
    FLOAT("optim.final_weight_decay", final_weight_decay, 0.04, 0, 10, "weight decay at the end (half a cosine from the first)"),
    FLOAT("optim.beta1", beta1, 0.9, 0, 0.9999999, "AdamW"),
    FLOAT("optim.beta2", beta2, 0.999, 0, 0.9999999, "AdamW"),
    FLOAT("optim.eps", eps, 1e-8, 1e-30, 1, "AdamW"),
    FLOAT("optim.ema_start", ema_start, 0.99925, 0, 1, "momentum of the target encoder at the start"),
    FLOAT("optim.ema_end", ema_end, 0.99925, 0, 1, "and at the end (linear)"),
    FLOAT("optim.clip_norm", clip_norm, 0, 0, 1e38, "gradients of a greater norm (over all parameters) are scaled down to it; 0: never"),
    { .key = "optim.in_backward", .kind = VJ_FIELD_BOOL, .offset = AT(in_backward), .b = false, .flags = FREE,
      .help = "update a unit as soon as its gradient is complete: the whole gradient never exists (one slot a step; same bits)" },

    INT("checkpoint.every", checkpoint_every, 500, 1, INT64_C(1) << 40, FREE, "steps between checkpoints"),
    { .key = "checkpoint.async", .kind = VJ_FIELD_BOOL, .offset = AT(checkpoint_async), .b = true, .flags = FREE,
      .help = "write checkpoints beside the training, from a copy: as much memory as a checkpoint has bytes (its share on each rank)" },
    INT("checkpoint.keep", checkpoint_keep, 3, 1, 1000000, FREE, "newest checkpoints that are kept"),
    INT("checkpoint.keep_every", checkpoint_keep_every, 0, 0, INT64_C(1) << 40, FREE, "checkpoints at multiples of this are kept for ever; 0: none"),
    INT("log.every", log_every, 10, 1, 1000000, FREE, "steps between lines of metrics.jsonl"),
    { .key = "log.tensorboard", .kind = VJ_FIELD_BOOL, .offset = AT(log_tensorboard), .b = true, .flags = FREE,
      .help = "event files for TensorBoard in RUN/tb" },
    { .key = "log.csv", .kind = VJ_FIELD_BOOL, .offset = AT(log_csv), .b = true, .flags = FREE,
      .help = "RUN/log_r0.csv, a line every step in the published code's columns" },
    INT("log.epoch", log_epoch, 300, 1, INT64_C(1) << 40, 0, "steps that log_r0.csv calls an epoch (the published code's ipe)"),
    { .key = "log.prometheus", .kind = VJ_FIELD_TEXT, .offset = AT(log_prometheus), .text = "metrics.prom", .flags = FREE,
      .help = "Prometheus text file, relative to the run or absolute (a textfile collector's folder); empty: none" },
    INT("held_out.every", held_out_every, 1000, 0, INT64_C(1) << 40, FREE, "steps between held-out figures; 0: never"),
    INT("held_out.samples", held_out_samples, 64, 1, 1000000, FREE, "held-out samples, at least"),
    INT("held_out.constant", held_out_constant, 256, 1, 100000, FREE, "training samples behind the best constant"),

    { .key = "parallel.mode", .kind = VJ_FIELD_ENUM, .offset = AT(parallel_mode), .names = mode_names, .flags = FREE,
      .help = "how ranks share the state; on one rank all are the same", .i = { 0, 0, 3 } },
    INT("parallel.ranks", parallel_ranks, 0, 0, 1 << 20, FREE, "how many must be started; 0: as many as are"),
    { .key = "parallel.shared_memory", .kind = VJ_FIELD_BOOL, .offset = AT(parallel_shared_memory), .b = true, .flags = FREE,
      .help = "ranks of one machine exchange through /dev/shm; false: by messages" },
    INT("parallel.shard", parallel_shard, 0, 0, 1 << 20, FREE, "hsdp: ranks that together hold the weights once (a divisor of the ranks)"),
    INT("parallel.prefetch", parallel_prefetch, 1, 0, 3, FREE, "fsdp, hsdp: units gathered before they are needed; 0: computing waits for all messages"),
    { .key = "parallel.reshard_after_forward", .kind = VJ_FIELD_TEXT, .offset = AT(parallel_reshard), .text = "auto", .flags = FREE, .i = { 0, 0, 16 },
      .help = "gathered weights until the backward pass: always drop, never, k (keep a k-th), auto (never where a tenth of memory is enough)" },
    INT("parallel.timeout_start", timeout_start, 3600, 0, 1 << 24, FREE, "seconds that starting, or a first step, may take without getting on; 0: any time"),
    INT("parallel.timeout_step", timeout_step, 600, 0, 1 << 24, FREE, "the same in a step, at least (10 times the longest pause before, if that is more); then exit 86"),
    INT("parallel.timeout_save", timeout_save, 1800, 0, 1 << 24, FREE, "the same between steps, where checkpoints are saved"),
    INT("parallel.tp", parallel_tp, 1, 1, 1024, FREE, "ranks that share one layer (only 1 today)"),
    { .key = "init.from", .kind = VJ_FIELD_TEXT, .offset = AT(init_from), .text = "",
      .help = "weights to start from, with fresh optimiser state: RUN[@STEP], a folder of Hugging Face, a .safetensors or .pt file" },
    { .key = NULL, .kind = VJ_FIELD_END },
};

int vj_train_keep(const vj_train_config *c)
{
    int64_t k;
    if (strcmp(c->parallel_reshard, "auto") == 0) return -1;
    if (strcmp(c->parallel_reshard, "always") == 0) return 0;
    if (strcmp(c->parallel_reshard, "never") == 0) return 1;
    return vj_parse_i64(c->parallel_reshard, &k) && k >= 2 && k <= 1 << 20 ? (int)k : -2;
}
